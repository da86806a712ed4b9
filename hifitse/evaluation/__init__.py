"""Is it good, which checkpoint is best, and which are kept."""
