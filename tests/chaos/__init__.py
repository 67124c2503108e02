"""Chaos scenarios: seeded faults under load, and a check of all text that was shown."""
