"""What saved state may refuse: a version that nobody here reads, bytes that are not what they should be."""


class StateError(Exception):
    """Saved state cannot be read; the sentence says what was found, what is read here, and what to do."""
