"""A local page to hear what a model makes of recordings."""
