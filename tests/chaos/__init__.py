"""Storms: seeded faults at every joint, under load, and a check of every word that was shown."""
