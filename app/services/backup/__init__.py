"""What is saved, and how it is proved when it is restored."""
