"""Measurements: `make bench` runs them, nothing in the test suite does."""
