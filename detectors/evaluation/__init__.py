"""Adapters that let outside scorers drive the detectors as they are."""
