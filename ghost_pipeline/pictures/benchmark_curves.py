"""The benchmarks of a month as a picture: figures by day, one small chart per cell."""

import base64
from collections.abc import Sequence
from decimal import Decimal
from io import BytesIO

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS

FIGURES = {metric.column_name: metric.chart for metric in BENCHMARK_METRICS if metric.chart}
COLOURS = ("#1b6ca8", "#e08214", "#7b7b7b")
STYLES = ("-", "--", ":")
"""A second cue beside the colour, for those who do not tell colours apart."""
CHART_WIDTH, CHART_HEIGHT = 2.5, 1.9
LEFT, RIGHT, TOP, BOTTOM = 0.65, 0.15, 0.55, 0.45
"""Inches around all charts."""
APART_X, APART_Y = 0.15, 0.4
"""Inches between two charts, for the title of the lower one."""
DOTS_PER_INCH = 80


def benchmark_curves(
    benchmarks: pl.DataFrame, population: str, bands: Sequence[Decimal], starts: Sequence[Decimal]
) -> bytes:
    """Draw the curves of every cell of a population.

    Args:
        benchmarks: `ghost_benchmarks` of one month.
        population: `interval` or `at_least`.
        bands: the bands to show, with benchmarks or without.
        starts: the starting skills to show.

    Returns:
        A PNG: a row of charts per band and figure, a column per starting skill, a line per success percentile.
        Every row shares its scale, so that cells can be compared.

    """
    shown = benchmarks.filter(pl.col("population") == population)
    rows = len(bands) * len(FIGURES)
    figure = _figure(rows, len(starts))
    axes = figure.subplots(rows, len(starts), sharex=True, sharey="row", squeeze=False)
    for row, (band, column) in enumerate((band, column) for band in bands for column in FIGURES):
        for place, start in enumerate(starts):
            axis = axes[row, place]
            cell = shown.filter(pl.col("target_band") == band, pl.col("starting_skill") == start)
            _draw(axis, cell, column)
            axis.set_title(f"{band} from {start}" + ("" if cell.height else ": too few"), fontsize=8)
        # Only now: setting one end of a shared scale freezes the other at what has been drawn so far.
        axes[row, 0].set_ylim(bottom=0)
        axes[row, 0].set_ylabel(f"{FIGURES[column]} by day", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("day of the journey", fontsize=8)
    handles, labels = next((found for axis in axes.flat if (found := axis.get_legend_handles_labels())[0]), ([], []))
    if handles:
        figure.legend(handles, labels, loc="upper center", ncols=len(labels), fontsize=8, frameon=False)
    return _png(figure)


def as_markdown_image(png: bytes, text: str) -> str:
    """A PNG as a Markdown image that carries its own data: Dagster shows it without a file to serve."""
    return f"![{text}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _figure(rows: int, columns: int) -> Figure:
    """Return a figure with fixed margins: a layout engine draws every chart twice more to measure its texts."""
    width, height = CHART_WIDTH * columns + 1, CHART_HEIGHT * rows + 0.8
    figure = Figure(figsize=(width, height))
    inner_width, inner_height = width - LEFT - RIGHT, height - TOP - BOTTOM
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        top=1 - TOP / height,
        bottom=BOTTOM / height,
        # Matplotlib measures gaps in widths and heights of a chart.
        wspace=APART_X / ((inner_width - APART_X * (columns - 1)) / columns),
        hspace=APART_Y / ((inner_height - APART_Y * (rows - 1)) / rows),
    )
    return figure


def _draw(axis: Axes, cell: pl.DataFrame, column: str) -> None:
    for index, percentile in enumerate(sorted(cell["success_percentile"].unique())):
        line = cell.filter(pl.col("success_percentile") == percentile).sort("day_number")
        label = "median" if percentile == 50 else f"top {percentile} %"  # noqa: PLR2004 - percent
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)]
        axis.plot(
            line["day_number"].to_numpy(), line[column].to_numpy(), style, color=colour, linewidth=1.2, label=label
        )
    axis.tick_params(labelsize=7)
    axis.grid(visible=True, linewidth=0.3)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # Without the library's version in it, the same month gives the same bytes.
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
