"""Corpora as WAV files at the model's rate: what reads fastest."""
