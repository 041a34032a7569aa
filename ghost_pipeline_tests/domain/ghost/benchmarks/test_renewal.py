"""Which rows of a month are renewed, and what the others show."""

from collections.abc import Collection

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ghost.benchmarks.renewal import (
    Chosen,
    Compared,
    KeptMonth,
    Key,
    Shown,
    chosen_rows,
    kept_month,
    rows_as_text,
    rows_of_text,
)

ROW: Key = ("interval", "7.5", "6.0", 12)
NO_PEOPLE = pl.DataFrame(schema={"state": pl.Int32, "user_id": pl.String})
JANUARY, FEBRUARY, MARCH = "2025-01", "2025-02", "2025-03"


def month(renewed: str, *, allowed: bool) -> Compared:
    """A month whose row shows the state of another one, and whether those of now may stand beside it."""
    return Compared(KeptMonth({ROW: Shown(0, renewed)}, NO_PEOPLE), {ROW} if allowed else set())


OWN, BEFORE, AFTER = ({flag: month(key, allowed=flag) for flag in (True, False)} for key in (FEBRUARY, JANUARY, MARCH))


@pytest.mark.parametrize(
    ("own", "before", "after", "shows"),
    [
        (None, None, None, "now"),
        (None, True, None, "now"),
        (None, False, None, JANUARY),
        (True, True, True, "now"),
        (False, True, None, FEBRUARY),
        (False, False, None, FEBRUARY),
        (True, False, None, JANUARY),
        (True, True, False, FEBRUARY),
        (None, True, False, JANUARY),
        (None, None, False, None),
    ],
)
def test_a_row_is_renewed_if_it_may_stand_beside_all_that_is_shown(
    *, own: bool | None, before: bool | None, after: bool | None, shows: str | None
) -> None:
    compared = (None if flag is None else of[flag] for flag, of in ((own, OWN), (before, BEFORE), (after, AFTER)))
    found = chosen_rows([ROW], *compared).get(ROW)
    names = None if found is None else found.source.rows[ROW].renewed if found.source else "now"
    assert names == shows


def test_a_row_with_too_few_people_keeps_what_it_showed() -> None:
    assert chosen_rows([], OWN[True], BEFORE[True], None) == {ROW: Chosen(OWN[True].month, 0)}


KEYS = st.tuples(st.sampled_from(["interval", "at_least"]), st.none() | st.sampled_from(["6.0"]), st.integers(1, 90))
ROWS = st.dictionaries(KEYS, st.builds(Shown, st.integers(0, 3), st.sampled_from([JANUARY, FEBRUARY])))


@given(ROWS)
def test_rows_come_back_from_their_text(rows: dict[Key, Shown]) -> None:
    assert rows_of_text(rows_as_text(rows)) == rows
    assert rows_as_text(dict(reversed(rows.items()))) == rows_as_text(rows)


def everybody(people: pl.DataFrame, _: Collection[Key]) -> pl.DataFrame:
    return people


def test_states_are_numbered_by_month_and_only_those_that_are_shown_are_kept() -> None:
    older = pl.DataFrame({"state": [0, 1, 2], "user_id": ["of-january", "gone", "of-february"]}, NO_PEOPLE.schema)
    before = KeptMonth({("a",): Shown(0, JANUARY), ("b",): Shown(2, FEBRUARY)}, older)
    chosen: dict[Key, Chosen] = {("b",): Chosen(before, 2), ("a",): Chosen(before, 0), ("c",): Chosen(None, 0)}
    kept = kept_month(chosen, pl.DataFrame({"user_id": ["of-now"]}), MARCH, everybody)
    assert kept.rows == {("a",): Shown(0, JANUARY), ("b",): Shown(1, FEBRUARY), ("c",): Shown(2, MARCH)}
    assert kept.people.rows() == [(0, "of-january"), (1, "of-february"), (2, "of-now")]
    assert kept.newest == 2
