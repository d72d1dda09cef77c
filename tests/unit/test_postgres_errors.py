"""What Postgres's failures are called towards users and operators."""

from __future__ import annotations

import pytest

from app.adapters.postgres_errors import connection_refused, is_circumstance, refused
from app.errors import StoreTimeout

AT = 'connection to server at "db.internal" (10.0.0.5), port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (AT + 'FATAL:  password authentication failed for user "database_role"', "refused the user or the password"),
        (AT + 'FATAL:  role "app" does not exist', "no such user"),
        (AT + 'FATAL:  database "faces" does not exist', "no such database"),
        (AT + 'FATAL:  permission denied for database "faces"', "may not use it"),
        (AT + 'FATAL:  no pg_hba.conf entry for host "10.0.0.6", user "app", database "faces"', "pg_hba"),
        (AT + "FATAL:  the database system is starting up", "starting up"),
        (AT + "FATAL:  the database system is in recovery mode", "recovering"),
        (AT + "FATAL:  sorry, too many clients already", "no free connection"),
        (AT + 'FATAL:  remaining connection slots are reserved for roles with the "pg_use"', "no free connection"),
        (AT + "Connection refused\n\tIs the server running on that host?", "nothing listens"),
        ('could not translate host name "db.internal" to address: Name or service not known', "no address"),
        (AT + "something new", "the connection failed"),
    ],
)
def test_a_refused_connection_tells_the_reason_without_host_and_user(said: str, reason: str) -> None:
    message = connection_refused(said).message
    assert reason in message
    assert not any(secret in message for secret in ("db.internal", "10.0.0.5", "app", "faces"))


@pytest.mark.parametrize(
    ("sqlstate", "code", "sentence"),
    [
        (None, "store_unavailable", "connection to the database was lost"),
        ("57014", "store_timeout", "time limit"),
        ("42P01", "schema_missing", "scripts.migrate"),
        ("42704", "schema_missing", "scripts.migrate"),
        ("53300", "store_unavailable", "DATABASE_POOL_SIZE"),
        ("53100", "store_unavailable", "/dev/shm"),
        ("23505", "store_unavailable", "refused a statement"),
    ],
)
def test_a_failed_statement_has_a_code_and_a_sentence(sqlstate: str | None, code: str, sentence: str) -> None:
    error = refused(sqlstate)
    assert error.error_code == code
    assert sentence in error.message
    assert isinstance(error, StoreTimeout) == (code == "store_timeout")


def test_the_servers_state_is_told_from_a_mistake_in_a_statement() -> None:
    assert is_circumstance(None)
    assert is_circumstance("53100")
    assert not is_circumstance("42601")
