"""A gallery whose index lies outside of Postgres: how it is searched, and how it is kept in step."""
