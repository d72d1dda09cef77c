"""The checks of an operator's acceptance test of a live database."""
