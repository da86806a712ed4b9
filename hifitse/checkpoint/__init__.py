"""The checkpoint file: written, verified, exported, imported."""
