"""Adapters that let outside scorers drive the detectors, event by event."""
