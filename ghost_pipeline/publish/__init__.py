"""Published outputs: `ghost.duckdb` (built, read, queried), the copy in an application's PostgreSQL, JSON files.

Answers made from them belong in `serving/`, partitions of the lake in `lake/`.
"""
