"""The front door: the command line, the configuration, the local broker, the feed and the demo. Nothing imports it."""
