"""The assets: one per table, each thin (window, scan, transform, write, metadata)."""
