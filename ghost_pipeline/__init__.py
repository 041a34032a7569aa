"""Ghost data and n-gram analytics as Dagster assets over Parquet, DuckDB and polars."""

__version__ = "0.1.0"
