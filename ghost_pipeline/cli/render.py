"""Figures as text for a terminal."""

from datetime import datetime

import click
import polars as pl


def as_table(frame: pl.DataFrame) -> str:
    """Format a frame as aligned columns: numbers to the right, instants in UTC, null as an empty cell.

    Characters that would move the cursor (a typed backspace, a line break) are shown as escapes.
    """
    cells = [frame.columns, *([_cell(value) for value in row] for row in frame.iter_rows())]
    widths = [max(len(row[index]) for row in cells) for index in range(frame.width)]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def as_heat_map(frame: pl.DataFrame) -> str:
    """Format a heat map (N4.1) as a table whose rows have their colour as background; the category is also a word."""
    shown = frame.select(
        category="performance_category",
        ngram="ngram_text",
        wpm=pl.col("decaying_average_wpm").round(1),
        ms_per_key=pl.col("decaying_average_ms").round(1),
        target_ms="target_speed_ms",
        pct_of_target=pl.col("target_performance_pct").round(0).cast(pl.Int64),
        measured="sample_count",
    )
    head, *lines = as_table(shown).splitlines()
    colours = frame["color_code"].to_list()
    return "\n".join([head, *(_on(colour, line) for colour, line in zip(colours, lines, strict=True))])


def _on(colour: str, text: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return click.style(text, fg="black", bg=(red, green, blue))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(value))
