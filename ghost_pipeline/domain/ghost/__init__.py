"""Rules of peer comparison: activity, cohort snapshots, releases, ranks and messages.

Benchmarks of achievers are in `benchmarks/`; reading and writing tables is not done here.
"""
