"""Adapters by which outside scorers ask the production detectors."""
