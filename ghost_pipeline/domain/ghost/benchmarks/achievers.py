"""Who achieved a band and at which skill they started: half-open intervals of half a band (G5.1)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

BAND_DTYPE = pl.Decimal(2, 1)

HALF_BAND = Decimal("0.5")


def starting_skill(starts: Sequence[Decimal], score: str = "diagnostic_score") -> pl.Expr:
    """The start s with s <= score < s + 0.5 as Decimal(2, 1), null where there is none (G5.1).

    Generation and look-up both floor through this expression. Where configured starts overlap, the
    highest one is taken.
    """
    skill = pl.lit(None, dtype=BAND_DTYPE)
    for start in sorted(starts):
        skill = pl.when(within_half_band(score, start)).then(band_literal(start)).otherwise(skill)
    return skill


def within_half_band(score: str, band: Decimal) -> pl.Expr:
    """Whether band <= score < band + 0.5; false for null."""
    # The upper end is formed in decimals: the float nearest to it is the one a source delivers.
    inside = (pl.col(score) >= float(band)) & (pl.col(score) < float(band + HALF_BAND))
    return inside.fill_null(value=False)


def reaches(score: str, band: Decimal) -> pl.Expr:
    """Whether score >= band; false for null."""
    return (pl.col(score) >= float(band)).fill_null(value=False)


def edges_within(lower_ends: Sequence[Decimal], low: Decimal, high: Decimal | None) -> tuple[int, ...]:
    """The edges e of the half bands that begin at `lower_ends` with low <= e < high, in tenths, ascending.

    Between two neighbouring edges is a block of scores that belong to the same half bands. Each block is
    named by its lower edge, and half bands, however they overlap, are unions of blocks.

    Raises:
        ValueError: an edge has more than one decimal.

    """
    return tuple(_tenths(edge) for edge in _edges(lower_ends) if low <= edge and (high is None or edge < high))


def blocks_of_bands(bands: Sequence[Decimal]) -> pl.LazyFrame:
    """The blocks of final scores that reach each band: target_band Decimal(2, 1), final_tenths UInt8."""
    return _blocks({band: edges_within(bands, band, None) for band in bands}, "target_band", "final_tenths")


def blocks_of_starts(starts: Sequence[Decimal]) -> pl.LazyFrame:
    """The blocks of diagnostic scores within each start: starting_skill Decimal(2, 1), start_tenths UInt8."""
    edges = {start: edges_within(starts, start, start + HALF_BAND) for start in starts}
    return _blocks(edges, "starting_skill", "start_tenths")


def block_edge(score: str, lower_ends: Sequence[Decimal]) -> pl.Expr:
    """Return the block of a score as its lower edge in tenths (UInt8); null below all edges and for null."""
    edge_below = pl.lit(None, dtype=pl.UInt8)
    for edge in _edges(lower_ends):
        reached = pl.col(score) >= float(edge)
        edge_below = pl.when(reached).then(pl.lit(_tenths(edge), dtype=pl.UInt8)).otherwise(edge_below)
    return edge_below


def band_literal(band: Decimal) -> pl.Expr:
    """A band as a Decimal(2, 1) literal."""
    return pl.lit(band).cast(BAND_DTYPE)


def achievers(users: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The users with a diagnostic and a final score whose result was known before `as_of` (G5.1).

    Returns the columns of `users`.
    """
    return users.filter(pl.col("created_at") < as_of, pl.col("diagnostic_score").is_not_null(), known_result(as_of))


def known_result(as_of: datetime) -> pl.Expr:
    """Whether a user's result was known before `as_of` (G5.1); false without a result.

    It is known from `final_band_at` (exclusive), without one from `score_known_at` on, the start of the version that
    first carried the score (inclusive, G1.7; null: ever since).
    """
    known = (
        pl.when(pl.col("final_band_at").is_not_null())
        .then(pl.col("final_band_at") < as_of)
        .otherwise(pl.col("score_known_at").is_null() | (pl.col("score_known_at") <= as_of))
    )
    return pl.col("final_band_score").is_not_null() & known


def _blocks(edges: Mapping[Decimal, Sequence[int]], name: str, edge_name: str) -> pl.LazyFrame:
    return pl.LazyFrame(
        [(end, edge) for end in sorted(edges) for edge in edges[end]],
        schema={name: BAND_DTYPE, edge_name: pl.UInt8},
        orient="row",
    )


def _edges(lower_ends: Sequence[Decimal]) -> list[Decimal]:
    return sorted({edge for end in lower_ends for edge in (end, end + HALF_BAND)})


def _tenths(edge: Decimal) -> int:
    tenths = int(edge * 10)
    if tenths != edge * 10:
        raise ValueError(f"band {edge} has more than one decimal")
    return tenths
