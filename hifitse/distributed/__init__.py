"""Ranks and signals: several processes that train one model, and what ends them in order."""
