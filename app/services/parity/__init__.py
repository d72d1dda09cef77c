"""Evidence for the cutover: every comparison of dual mode is kept, explained and summed up."""
