"""Sweeps: many trainings with other settings each, by several processes and machines, and what comes of them."""
