"""Tokens: who may use which domain, and that a change counts at once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.auth import Role, TokenStore
from app.errors import BadRequest, Forbidden, NotFound, StoreUnavailable, Unauthorized


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "tokens.json")


def create(store: TokenStore, *domains: str, expires_at: datetime | None = None) -> str:
    return store.create("frontend", domains or ("serbia",), [Role.RECOGNISE], expires_at)


def test_the_bare_token_and_the_bearer_form_are_both_accepted(store: TokenStore) -> None:
    secret = create(store)
    for header in (secret, f"Bearer {secret}", f"bearer  {secret} "):
        assert store.authenticate(header).domains == ("serbia",)


@pytest.mark.parametrize("header", [None, "", "   ", "Bearer", "Bearer "])
def test_no_token_is_said_to_be_missing(store: TokenStore, header: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        store.authenticate(header)
    assert caught.value.error_code == "token_missing"


def test_an_unknown_token_is_refused_and_does_not_stand_in_the_message(store: TokenStore) -> None:
    create(store)
    with pytest.raises(Unauthorized) as caught:
        store.authenticate("not-a-token-of-ours")
    assert caught.value.error_code == "token_unknown"
    assert "not-a-token" not in str(caught.value)


def test_an_expired_token_is_refused_and_one_that_expires_later_is_not(store: TokenStore) -> None:
    now = datetime.now(UTC)
    assert store.authenticate(create(store, expires_at=now + timedelta(hours=1)))
    expired = create(store, expires_at=now - timedelta(seconds=1))
    with pytest.raises(Unauthorized) as caught:
        store.authenticate(expired)
    assert caught.value.error_code == "token_expired"


def test_a_token_of_one_domain_needs_no_domain_in_the_request(store: TokenStore) -> None:
    assert store.authenticate(create(store)).domain(None) == "serbia"


def test_a_token_of_several_domains_must_name_one_of_them(store: TokenStore) -> None:
    token = store.authenticate(create(store, "serbia", "slovenia"))
    assert token.domain("slovenia") == "slovenia"
    with pytest.raises(BadRequest):
        token.domain(None)
    with pytest.raises(Forbidden):
        token.domain("croatia")


def test_a_token_of_all_domains_may_name_any(store: TokenStore) -> None:
    token = store.authenticate(create(store, "*"))
    assert token.domain("croatia") == "croatia"
    with pytest.raises(BadRequest):
        token.domain(None)


@pytest.mark.parametrize("name", ["../serbia", "serbia'; DROP TABLE persons; --", "a b", "*", "x" * 64, "\x00"])
def test_what_cannot_be_a_domain_is_refused_as_bad_input(store: TokenStore, name: str) -> None:
    with pytest.raises(BadRequest):
        store.authenticate(create(store, "*")).domain(name)


def test_roles_are_held_and_admin_includes_them_all(store: TokenStore) -> None:
    token = store.authenticate(create(store))
    token.require(Role.RECOGNISE)
    with pytest.raises(Forbidden):
        token.require(Role.ENROL)
    store.authenticate(store.create("boss", ["*"], [Role.ADMIN], None)).require(Role.ENROL)


def test_any_one_of_several_roles_is_enough(store: TokenStore) -> None:
    token = store.authenticate(store.create("registry", ["serbia"], [Role.ENROL], None))
    token.require(Role.VIEW, Role.ENROL)
    with pytest.raises(Forbidden, match="'view' or 'recognise'"):
        token.require(Role.VIEW, Role.RECOGNISE)


def test_another_process_revokes_and_the_next_request_is_refused(store: TokenStore, tmp_path: Path) -> None:
    secret = create(store)
    token = store.authenticate(secret)
    TokenStore(tmp_path / "tokens.json").revoke(token.id)
    with pytest.raises(Unauthorized):
        store.authenticate(secret)


def test_revoking_what_does_not_exist_says_so(store: TokenStore) -> None:
    with pytest.raises(NotFound):
        store.revoke("t_00000000")


def test_the_file_holds_no_token_and_only_its_owner_may_read_it(store: TokenStore, tmp_path: Path) -> None:
    secret = create(store)
    path = tmp_path / "tokens.json"
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".json"] == ["tokens.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"tokens": [{"id": "x"}]})])
def test_a_broken_tokens_file_is_a_store_that_is_down_and_not_a_crash(
    store: TokenStore, tmp_path: Path, content: str
) -> None:
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(StoreUnavailable):
        store.authenticate("x")


def test_a_token_is_of_one_tenant_and_may_name_no_other(store: TokenStore) -> None:
    token = store.authenticate(store.create("acme", ["serbia"], [Role.RECOGNISE], None, "acme"))
    assert token.tenant_for(None) == token.tenant_for("acme") == "acme"
    with pytest.raises(Forbidden) as caught:
        token.tenant_for("zenith")
    assert caught.value.error_code == "tenant_not_allowed"


def test_a_token_without_a_tenant_of_its_own_is_the_default_tenants(store: TokenStore) -> None:
    assert store.authenticate(create(store)).tenant_for(None) == "default"


def test_a_token_of_all_tenants_may_name_any(store: TokenStore) -> None:
    token = store.authenticate(store.create("operator", ["*"], [Role.ADMIN], None, "*"))
    assert (token.tenant_for(None), token.tenant_for("acme")) == ("default", "acme")


@pytest.mark.parametrize("name", ["", ".", "../etc", "a/b", "a b", "x" * 65])
def test_a_tenant_that_cannot_be_one_is_refused(store: TokenStore, name: str) -> None:
    with pytest.raises(BadRequest):
        store.create("frontend", ["serbia"], [Role.RECOGNISE], None, name)
    with pytest.raises(BadRequest):
        store.authenticate(create(store)).tenant_for(name)
