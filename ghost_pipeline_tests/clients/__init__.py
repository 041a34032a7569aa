"""Clients of other makers and other versions: what they read, with which line, and as which types."""
