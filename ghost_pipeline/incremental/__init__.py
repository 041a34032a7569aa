"""What makes an hour cost an hour: running totals, caches, changed inputs, stale hours, retention.

The figures themselves are computed in `domain/`; a cache here may be deleted at any time without changing one.
"""
