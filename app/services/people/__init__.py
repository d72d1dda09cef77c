"""Persons, added, changed and removed in both galleries at once."""
