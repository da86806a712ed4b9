"""Every setting, and what changing it means."""
