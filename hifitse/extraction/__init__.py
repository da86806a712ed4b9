"""Voices out of recordings: files, folders and lists of them, and what is heard of a reference."""
