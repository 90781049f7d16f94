"""Adapters through which outside scorers ask the production detectors."""
