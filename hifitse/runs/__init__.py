"""A run's directory, its records and its branches.

run = Run(Path("runs/demo"))
checkpoint, skipped = CheckpointRef("last").load(run)
"""
