"""Which of two is better, and is the difference real: paired scene by scene, with intervals over speakers."""
