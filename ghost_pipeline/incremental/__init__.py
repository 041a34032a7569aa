"""Keeping the cost of an hourly run constant: running totals, caches, changed inputs, stale hours, retention.

Figures are not computed here but in `domain/`; deleting a cache at any time changes none of them.
"""
