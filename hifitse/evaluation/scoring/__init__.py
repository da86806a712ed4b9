"""What a model makes of a test set: figures of each pair, and what they add up to."""
