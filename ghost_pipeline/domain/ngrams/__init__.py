"""Rules of typing analytics: extraction from keystrokes, decaying averages, history and queries.

Anything about learners, cohorts or benchmarks belongs in `domain/ghost/`.
"""
