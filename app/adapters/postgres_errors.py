"""What Postgres's failures mean to this service; the messages hold no value of a row, no host and no password."""

from __future__ import annotations

from app.errors import AppError, StoreTimeout, StoreUnavailable

MIGRATE = "Run `python -m scripts.migrate`."

# SQLSTATE, or its first two characters for the whole class (PostgreSQL documentation, appendix A).
_QUERY_CANCELED = "57014"
_SCHEMA = {"42P01", "42703", "42704", "42883", "3F000"}  # undefined table, column, object or type, function, schema
_SENTENCES = {
    "53300": "The database has no free connection: lower DATABASE_POOL_SIZE or raise its max_connections.",
    "53100": "The database server ran out of disk, or of shared memory (/dev/shm) for a parallel index build.",
    "53200": "The database server ran out of memory.",
    "42501": "The database user lacks a right: let it own the tables, and let a superuser run CREATE EXTENSION vector.",
    "25006": "The database is read-only (a standby?): point DATABASE_URL to the primary.",
    "40P01": "The database ended a deadlock at this transaction's cost; try again.",
    "55P03": "Another process holds the lock, perhaps another migration; try again when it is done.",
    "57P01": "The database is shutting down.",
    "57P02": "The database crashed and is recovering.",
    "57P03": "The database is starting up.",
}
# A refused connection comes without a SQLSTATE; libpq's sentence cannot be shown, as it names hosts and users.
_CONNECT_REASONS = {
    "authentication failed": "it refused the user or the password in DATABASE_URL",
    "no password supplied": "it asks for a password, and DATABASE_URL has none",
    "no pg_hba.conf entry": "its pg_hba.conf does not let this host, user or database in",
    "permission denied": "the user in DATABASE_URL may not use it",
    "translate host name": "the host in DATABASE_URL has no address",
    "Connection refused": "nothing listens there",
    "No such file": "nothing listens there",
    "starting up": "it is starting up",
    "recovery": "it is recovering from a crash",
    "shutting down": "it is shutting down",
    "too many": "it has no free connection",
    "connection slots": "it has no free connection",
    'role "': "it has no such user as DATABASE_URL names",
    'database "': "it has no such database as DATABASE_URL names",
    "SSL": "the SSL settings do not fit",
}


def connection_refused(said: str) -> StoreUnavailable:
    """The error for a connection that did not come about.

    :param said: libpq's message.
    """
    said = said.partition("failed:")[2] or said  # what follows tells the reason, what precedes the address
    reason = next((sentence for mark, sentence in _CONNECT_REASONS.items() if mark in said), "the connection failed")
    return StoreUnavailable(f"Cannot connect to the database: {reason}.")


def is_circumstance(sqlstate: str | None) -> bool:
    """Whether the failure tells about the server's state or rights, and not about the statement."""
    return sqlstate is None or sqlstate in _SENTENCES


def refused(sqlstate: str | None) -> AppError:
    """The error for a statement that failed, or a connection that was lost (`sqlstate` is None)."""
    if sqlstate is None:
        return StoreUnavailable("The connection to the database was lost.")
    if sqlstate == _QUERY_CANCELED:
        return StoreTimeout("The database did not answer within the time limit.")
    if sqlstate in _SCHEMA:
        return StoreUnavailable(f"The database lacks a table or type of this version. {MIGRATE}", code="schema_missing")
    sentence = _SENTENCES.get(sqlstate, "The database refused a statement.")
    return StoreUnavailable(sentence, details={"sqlstate": sqlstate})
