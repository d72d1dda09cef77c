"""The schema of the database, forward only: a released migration is never changed, only followed by another."""
