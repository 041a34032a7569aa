"""Published outputs: `ghost.duckdb`, an application's PostgreSQL and the JSON benchmarks.

Answers made from them are in `serving/`; partitions of the lake are in `lake/`.
"""
