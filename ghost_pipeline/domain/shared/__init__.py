"""Rules that both domains use: exact rounding, ids, local dates, versions, comparisons over time.

A rule that only one domain needs belongs in that domain's folder.
"""
