"""Rows as JSON, the same text on the command line and over HTTP."""

import polars as pl


def as_json_rows(frame: pl.DataFrame) -> str:
    """Format a frame as a JSON array of objects: decimals as numbers, instants as ISO 8601 in UTC with Z."""
    numbers = pl.selectors.decimal().cast(pl.Float64)
    instants = pl.selectors.datetime(time_zone="*").dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return frame.with_columns(numbers, instants).write_json()
