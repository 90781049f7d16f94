"""This room thinks: events in, alerts out. Pure Python and River; no clock, no network, no files, no metrics."""
