"""What is written while the training goes on: checkpoints, validation results, and when to try again."""
