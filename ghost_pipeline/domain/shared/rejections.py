"""Counts of rejected rows."""

import polars as pl


def rejections_by_reason(rejected_rows: pl.LazyFrame) -> pl.LazyFrame:
    """Count rejected rows by source table and reason.

    Returns:
        `source_table`, `reason` String and `rows` UInt32, most rows first.

    """
    return (
        rejected_rows.group_by("source_table", "reason")
        .agg(rows=pl.len())
        .sort("rows", "source_table", "reason", descending=[True, False, False])
    )
