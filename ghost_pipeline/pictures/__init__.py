"""Small pictures of tables, for the people who operate the pipeline: pure functions from a few rows to rows with bars.

Nothing here reads or writes, and nothing here knows Dagster. `charts` draws, `tables` says which tables have which
pictures, and `benchmark_curves` draws the benchmarks of a month, which are too many lines for a small picture.
"""
