"""Bulk loads: image folders straight into Postgres."""
