"""A training while it runs: in its own terminal, and from its files in any other."""
