"""Configured folders become pools of speakers, noises and rooms, for training, validation and test."""
