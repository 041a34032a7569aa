"""How achievers differ between two states of streak shares and fastest improvers."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ghost.benchmarks.share_changes import (
    allowed_improvers,
    allowed_shares,
    without_few_outside,
)
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.plain_renewal import may_be_renewed

BANDS, STARTS = (Decimal("7.0"), Decimal("7.5")), (Decimal("5.5"), Decimal("6.0"))
LIMITS = {"min_changed": 4, "max_share_percent": 90}
Person = tuple[float, float, int]
"""Final band, diagnostic and longest streak."""
KEYS = [(band, start, days) for band in ("7.0", "7.5") for start in (None, "5.5", "6.0") for days in (3, 7)]


def people(found: Mapping[str, Person]) -> pl.DataFrame:
    schema = {"user_id": pl.String, "final_band_score": pl.Float64, "diagnostic_score": pl.Float64}
    rows = [(name, *person) for name, person in sorted(found.items())]
    return pl.DataFrame(rows, schema={**schema, "longest_streak": pl.Int32}, orient="row")


def reached(found: Mapping[str, Person], band: str, start: str | None, days: int) -> dict[str, tuple[int]]:
    return {
        name: (int(streak >= days),)
        for name, (final, diagnostic, streak) in found.items()
        if final >= float(band) and (start is None or float(start) <= diagnostic < float(start) + 0.5)
    }


STATES = st.dictionaries(
    st.sampled_from([f"u{number:02}" for number in range(14)]),
    st.tuples(st.sampled_from([7.0, 7.5, 8.0]), st.sampled_from([5.0, 5.5, 6.2]), st.sampled_from([0, 4, 9])),
    max_size=14,
)


@examples(100, 500)
@given(STATES, STATES)
def test_shares_are_renewed_as_from_scratch(before: dict[str, Person], after: dict[str, Person]) -> None:
    found = allowed_shares(people(before), people(after), KEYS, bands=BANDS, starts=STARTS, **LIMITS)
    expected = {
        key
        for key in KEYS
        if may_be_renewed(reached(before, *key), reached(after, *key), LIMITS["min_changed"], has_means=True)
    }
    assert found == expected


@pytest.mark.parametrize(("outside", "allowed"), [(0, True), (1, False), (9, False), (10, True)])
def test_a_share_over_all_starts_needs_none_or_ten_outside(outside: int, *, allowed: bool) -> None:
    inside = {f"in-{number}": (7.5, 6.0, 9) for number in range(12)}
    others = {f"out-{number}": (7.5, 4.0, 9) for number in range(outside)}
    overall = ("7.5", None, 3)
    found = without_few_outside(
        people({**inside, **others}), [overall], [("7.5", "6.0", 3)], bands=BANDS, starts=STARTS, min_outside=10
    )
    assert (overall in found) == allowed


Pace = tuple[int, int] | None
"""Time practised and duration of one of the fastest quarter."""
IMPROVERS = st.dictionaries(
    st.sampled_from([f"u{number:02}" for number in range(14)]),
    st.none() | st.tuples(st.integers(0, 3), st.integers(1, 3)),
    max_size=14,
)


def quarter(found: Mapping[str, Pace]) -> pl.DataFrame:
    rows = [(name, Decimal("6.0"), *(pace or (None, None))) for name, pace in sorted(found.items())]
    schema = pl.Schema(
        {
            "user_id": pl.String(),
            "starting_skill": pl.Decimal(2, 1),
            "practice_time_ms": pl.Int64(),
            "duration_us": pl.Int64(),
        }
    )
    return pl.DataFrame(rows, schema, orient="row")


@examples(100, 500)
@given(IMPROVERS, IMPROVERS)
def test_improvers_are_renewed_as_from_scratch(before: dict[str, Pace], after: dict[str, Pace]) -> None:
    # Durations of 1 to 3 divide 6, so that paces are whole.
    inside, paces = [
        [
            dict.fromkeys(state, (0,)),
            {name: (int(Fraction(*pace) * 6),) for name, pace in state.items() if pace},
        ]
        for state in (before, after)
    ]
    expected = may_be_renewed(inside[0], paces[0], 4, has_means=False) and may_be_renewed(
        inside[1], paces[1], 4, has_means=True
    )
    found = allowed_improvers(quarter(before), quarter(after), [("6.0",)], **LIMITS)
    assert (("6.0",) in found) == expected
