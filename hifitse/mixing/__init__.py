"""Pools become scenes, scenes become micro-batches."""
