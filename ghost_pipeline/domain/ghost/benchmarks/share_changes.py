"""How many achievers differ between two states of streak shares, or of fastest improvers, and by how much (G9.7)."""

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.domain.ghost.benchmarks.achievers import HALF_BAND, block_edge, edges_within
from ghost_pipeline.domain.ghost.benchmarks.renewal import Key
from ghost_pipeline.domain.shared.levels import LARGEST, levels_hold

_ID = "user_id"


def allowed_shares(
    before: pl.DataFrame,
    after: pl.DataFrame,
    keys: Collection[Key],
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    min_changed: int,
    max_share_percent: int,
) -> set[Key]:
    """Return the streak shares from which those of now differ by no one or by enough people.

    A share is the mean of a number that is 1 for who reached the threshold, otherwise 0, so its differences are judged
    like those of means.

    Args:
        before: `streak_people` of one state.
        after: those of the other one.
        keys: the shares: target band, starting skill or None, threshold.
        bands: target bands.
        starts: starting skills.
        min_changed: people who have to differ if any does.
        max_share_percent: see `levels_hold`.

    """
    left, joined = _differing(before, after)
    users = pl.concat([left[_ID], joined[_ID]]).unique().sort().to_frame()
    sides = [
        users.join(one, on=_ID, how="left", maintain_order="left").select(
            final=block_edge("final_band_score", bands).fill_null(0),
            start=block_edge("diagnostic_score", starts).fill_null(0),
            longest_streak=pl.col("longest_streak").fill_null(0),
        )
        for one in (left, joined)
    ]
    allowed = set()
    for key in keys:
        band, start, threshold = key
        finals = edges_within(bands, Decimal(str(band)), None)
        first = None if start is None else Decimal(str(start))
        within = None if first is None else edges_within(starts, first, first + HALF_BAND)
        inside = [_inside(side, finals, within) for side in sides]
        reached = [
            one & (side["longest_streak"].to_numpy() >= threshold) for one, side in zip(inside, sides, strict=True)
        ]
        flags = reached[0] != reached[1]
        changed = int(np.count_nonzero((inside[0] != inside[1]) | flags))
        if _enough(changed, [1] * int(np.count_nonzero(flags)), min_changed, max_share_percent):
            allowed.add(key)
    return allowed


def without_few_outside(
    people: pl.DataFrame,
    overall: Collection[Key],
    shown: Collection[Key],
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    min_outside: int,
) -> set[Key]:
    """Return the shares over all starts that may stand beside those of single starts.

    Their difference would be the people outside the starts that are shown, so these are none or many.

    Args:
        people: `streak_people` of now.
        overall: the shares over all starts.
        shown: the shares of single starts that the month shows.
        bands: target bands.
        starts: starting skills.
        min_outside: people who have to be outside if anybody is.

    """
    scores = people.select(
        final=block_edge("final_band_score", bands).fill_null(0),
        start=block_edge("diagnostic_score", starts).fill_null(0),
    )
    allowed = set()
    for key in overall:
        band, _, threshold = key
        firsts = [Decimal(str(start)) for one, start, days in shown if (one, days) == (band, threshold)]
        covered = [edge for first in firsts for edge in edges_within(starts, first, first + HALF_BAND)]
        of_band = _inside(scores, edges_within(bands, Decimal(str(band)), None), None)
        outside = int(np.count_nonzero(of_band & ~np.isin(scores["start"].to_numpy(), covered)))
        if outside == 0 or outside >= min_outside:
            allowed.add(key)
    return allowed


def allowed_improvers(
    before: pl.DataFrame, after: pl.DataFrame, keys: Collection[Key], *, min_changed: int, max_share_percent: int
) -> set[Key]:
    """Return the starts whose fastest improvers differ by no one or by enough people.

    Judged are all improvers (who has entered or left) and, by themselves, the fastest quarter (who has entered it, left
    it, or has another figure), with the differences of their minutes a day.

    Args:
        before: `fastest_quarter` of one state.
        after: that of the other one.
        keys: the starts.
        min_changed: people who have to differ if any does.
        max_share_percent: see `levels_hold`.

    """
    left, joined = _differing(before, after)
    allowed = set()
    for key in keys:
        of_start = [one.filter(pl.col("starting_skill").cast(pl.String) == key[0]) for one in (left, joined)]
        ids = [set(one[_ID]) for one in of_start]
        paces = [dict(_paces(one)) for one in of_start]
        moved = [
            difference
            for user in paces[0].keys() | paces[1].keys()
            if (difference := abs(paces[0].get(user, Fraction(0)) - paces[1].get(user, Fraction(0)))) != 0
            or (user in paces[0]) != (user in paces[1])
        ]
        if _enough(len(ids[0] ^ ids[1]), [], min_changed, max_share_percent) and _enough(
            len(moved), moved, min_changed, max_share_percent
        ):
            allowed.add(key)
    return allowed


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of each frame that the other lacks."""
    names = before.columns
    return (
        before.join(after, on=names, how="anti", nulls_equal=True),
        after.join(before, on=names, how="anti", nulls_equal=True),
    )


def _inside(people: pl.DataFrame, finals: Sequence[int], starts: Sequence[int] | None) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.isin(people["final"].to_numpy(), finals)
    return inside if starts is None else inside & np.isin(people["start"].to_numpy(), starts)


def _paces(people: pl.DataFrame) -> Iterator[tuple[str, Fraction]]:
    for user, practised, duration in people.select(_ID, "practice_time_ms", "duration_us").drop_nulls().iter_rows():
        yield user, Fraction(practised, duration)


def _enough(changed: int, moved: Sequence[int] | Sequence[Fraction], min_changed: int, max_share_percent: int) -> bool:
    """Return whether 0 or enough people differ, and their differences pass the rule of levels."""
    largest = [*sorted(moved, reverse=True)[:LARGEST], *[0] * LARGEST][:LARGEST]
    return (changed == 0 or changed >= min_changed) and bool(levels_hold(sum(moved), largest, max_share_percent))
