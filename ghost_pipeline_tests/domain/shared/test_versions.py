"""Versions: only changes are kept, a change counts from when it was made, and an old hour sees what was true then."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.shared.versions import (
    carried_since,
    changed_rows,
    keyboards_at,
    keys_with_several,
    of_changed,
    users_at,
    valid_at,
    with_added,
)
from ghost_pipeline_tests.examples import examples

START = datetime(2025, 3, 12, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
TOLD = pl.Schema({"user_id": pl.String(), "updated_at": INSTANT, "target": pl.Int64()})
SILENT = pl.Schema({"user_id": pl.String(), "target": pl.Int64()})
ADDED = pl.Schema({"valid_from": INSTANT, "seen_at": INSTANT})


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def told(*rows: tuple[str, float | None, int | None]) -> pl.LazyFrame:
    """The source with `updated_at` in hours, and a value that changes."""
    values = [(user, None if hours is None else at(hours), target) for user, hours, target in rows]
    return pl.LazyFrame(values, schema=TOLD, orient="row")


def silent(*rows: tuple[str, int | None]) -> pl.LazyFrame:
    """The source without `updated_at`."""
    return pl.LazyFrame(list(rows), schema=SILENT, orient="row")


class Lake:
    """Versions by the hour that saw them, as runs keep them."""

    def __init__(self, source: pl.Schema) -> None:
        """Start without a version."""
        self.schema = pl.Schema({**source, **ADDED})
        self.hours: dict[int, pl.DataFrame] = {}

    @property
    def known(self) -> pl.LazyFrame:
        """Every version."""
        return pl.concat([pl.LazyFrame(schema=self.schema), *(frame.lazy() for frame in self.hours.values())])

    def run(self, hour: int, source: pl.LazyFrame) -> pl.DataFrame:
        """The run whose `as_of` is that hour; gives what it added."""
        newest = max(self.hours, default=hour) <= hour
        added = changed_rows(source, self.known, "user_id", at(hour), newest=newest)
        old = self.hours.get(hour, pl.DataFrame(schema=self.schema)).lazy()
        self.hours[hour] = with_added(old, added, "user_id").collect()
        return added.collect()

    def targets(self, *hours: float) -> list[int | None]:
        """The target of the one user as of these hours."""
        return [valid_at(self.known, "user_id", at(one)).collect()["target"].item() for one in hours]


# --- which versions a run adds ---


def test_the_first_look_adds_everybody_once() -> None:
    added = Lake(SILENT).run(1, silent(("b", 2), ("a", 1)))
    assert added.rows() == [("a", 1, at(1), at(1)), ("b", 2, at(1), at(1))]


def test_what_did_not_change_adds_nothing() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", 1)))
    assert lake.run(2, silent(("a", 1))).height == 0


def test_a_change_counts_from_the_hour_that_saw_it() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", 1)))
    assert lake.run(3, silent(("a", 2))).rows() == [("a", 2, at(3), at(3))]


def test_a_change_that_the_source_dates_counts_from_its_date() -> None:
    lake = Lake(TOLD)
    lake.run(1, told(("a", 0, 1)))
    assert lake.run(3, told(("a", 1.5, 2))).rows() == [("a", at(1.5), 2, at(1.5), at(3))]


def test_the_first_version_counts_from_its_date() -> None:
    assert Lake(TOLD).run(1, told(("a", -100, 1)))["valid_from"].to_list() == [at(-100)]


def test_a_change_without_a_later_date_counts_from_the_hour_that_saw_it() -> None:
    lake = Lake(TOLD)
    lake.run(1, told(("a", 0, 1)))
    assert lake.run(3, told(("a", 0, 2)))["valid_from"].to_list() == [at(3)]
    assert lake.run(4, told(("a", None, 3)))["valid_from"].to_list() == [at(4)]


def test_a_value_that_goes_or_comes_is_a_change() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", None)))
    assert lake.run(2, silent(("a", None))).height == 0
    assert lake.run(3, silent(("a", 1)))["target"].to_list() == [1]
    assert lake.run(4, silent(("a", None)))["target"].to_list() == [None]


def test_somebody_who_leaves_the_source_keeps_their_versions() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", 1), ("b", 2)))
    assert lake.run(2, silent(("b", 2))).height == 0
    assert valid_at(lake.known, "user_id", at(2)).collect().height == 2


def test_a_second_look_within_the_hour_replaces_the_first() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", 1)))
    lake.run(2, silent(("a", 2)))
    lake.run(2, silent(("a", 3)))
    assert lake.targets(1, 2) == [1, 3]
    assert lake.known.collect().height == 2


def test_a_first_version_that_is_looked_at_again_within_the_hour_is_replaced() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", 1)))
    lake.run(1, silent(("a", 2)))
    assert lake.known.collect()["target"].to_list() == [2]


def test_a_run_of_an_older_hour_leaves_a_change_without_a_date_to_a_newer_one() -> None:
    lake = Lake(SILENT)
    lake.run(1, silent(("a", 1)))
    lake.run(5, silent(("a", 1)))
    assert lake.run(3, silent(("a", 2))).height == 0
    assert lake.run(6, silent(("a", 2)))["valid_from"].to_list() == [at(6)]
    assert lake.targets(3, 5, 6) == [1, 1, 2]


def test_a_run_of_an_older_hour_keeps_a_change_that_the_source_dates() -> None:
    lake = Lake(TOLD)
    lake.run(5, told(("a", 0, 1)))
    lake.run(3, told(("a", 5.5, 2)))
    assert lake.targets(3, 5, 6) == [1, 1, 2]


def test_a_run_of_an_older_hour_takes_in_somebody_new() -> None:
    lake = Lake(SILENT)
    lake.run(5, silent(("a", 1)))
    assert lake.run(3, silent(("a", 1), ("b", 2)))["user_id"].to_list() == ["b"]


def test_a_version_dated_into_the_future_does_not_make_every_hour_see_a_change() -> None:
    lake = Lake(TOLD)
    lake.run(1, told(("a", 100, 1)))
    assert lake.run(2, told(("a", 100, 2))).height == 1
    assert lake.run(3, told(("a", 100, 2))).height == 0
    assert lake.targets(101) == [2]


def test_a_clock_that_went_ahead_and_was_set_back_is_one_change() -> None:
    lake = Lake(TOLD)
    lake.run(1, told(("a", 3.5, 1)))
    lake.run(2, told(("a", 1.5, 2)))
    assert lake.run(3, told(("a", 1.5, 2))).height == 0
    lake.run(5, told(("a", 4.5, 3)))
    assert lake.targets(3, 3.5, 4.5) == [2, 1, 3]


class Timeline(NamedTuple):
    """Looks at one user, and the target as of some hours after them."""

    looks: tuple[tuple[int, float | None, int], ...]
    """Hour of the run, `updated_at` and target."""
    targets: dict[float, int]


@pytest.mark.parametrize(
    "timeline",
    [
        pytest.param(
            Timeline(((3, None, 1), (4, 1.5, 2)), {-1000: 1, 1: 1, 1.5: 2, 3: 2, 4: 2}),
            id="an undated first version is valid since ever",
        ),
        pytest.param(
            Timeline(((3, None, 1), (4, 3, 2)), {2: 1, 3.5: 2, 4: 2}),
            id="a date that equals the first look",
        ),
        pytest.param(
            Timeline(((3, None, 1), (3, 1.5, 2)), {1: 1, 1.5: 2, 3: 2}),
            id="a date that the second look within the first hour brings",
        ),
        pytest.param(
            Timeline(((3, 1.5, 1), (3, None, 2)), {1: 2, 3: 2}),
            id="a second look within the first hour that brings no date",
        ),
        pytest.param(
            Timeline(((3, 2, 2), (4, 1, 1)), {0: 1, 1: 1, 2: 2, 4: 2}),
            id="an earlier date is put in its place in time",
        ),
        pytest.param(
            Timeline(((3, 0, 0), (4, 2, 2), (5, 1, 1), (6, 2, 2), (7, 3, 3)), {0: 0, 1: 1, 2: 2, 2.5: 2, 7: 3}),
            id="an earlier date between two versions",
        ),
        pytest.param(
            Timeline(((3, 1, 1), (4, 2, 2), (5, 1, 1)), {1: 1, 2: 2, 5: 2}),
            id="a replica that lags behind adds nothing",
        ),
        pytest.param(
            Timeline(((3, 1, 1), (4, 2, 2), (5, 1, 3)), {1: 1, 2: 2, 5: 3}),
            id="a date that another version has dates no change",
        ),
        pytest.param(
            Timeline(((6, 5, 1), (7, 9000, 9), (12, 11, 3), (13, 12, 4)), {6: 1, 11: 3, 11.5: 3, 12: 4, 9000: 9}),
            id="a change after a date that lies years ahead",
        ),
        pytest.param(
            Timeline(((6, 5, 1), (7, 9000, 9), (12, 5, 3)), {6: 1, 8999: 1, 9001: 3}),
            id="a date that another version has, after one that lies years ahead",
        ),
        pytest.param(
            Timeline(((3, None, 1), (3, 1, 2), (3, None, 3), (4, None, 3)), {0: 1, 1: 2, 3: 2, 4: 3}),
            id="a third look within the first hour that brings no date",
        ),
        pytest.param(
            Timeline(((3, 1, 1), (3, 2, 2), (3, None, 3), (4, None, 3)), {0: 1, 1: 1, 2: 2, 3: 2, 4: 3}),
            id="a third look within the first hour that brings no date after two that do",
        ),
        pytest.param(
            Timeline(((3, None, 1), (3, 1, 2), (3, 1, 3), (4, 1, 3)), {0: 1, 1: 2, 3: 2, 4: 3}),
            id="a third look within the first hour that brings the date of the second",
        ),
        pytest.param(
            Timeline(((3, 1, 1), (4, None, 2), (6, 3.5, 3)), {3: 1, 4: 2, 5: 2, 6: 3}),
            id="a date before a change that a run has dated",
        ),
    ],
)
def test_a_version_is_put_in_its_place_in_time(timeline: Timeline) -> None:
    lake = Lake(TOLD)
    for hour, updated, target in timeline.looks:
        lake.run(hour, told(("a", updated, target)))
        assert lake.run(hour, told(("a", updated, target))).height == 0
    assert lake.targets(*timeline.targets) == [*timeline.targets.values()]


def test_a_run_of_an_older_hour_leaves_a_user_whose_undated_first_version_a_newer_one_saw() -> None:
    lake = Lake(TOLD)
    lake.run(5, told(("a", None, 1)))
    assert lake.run(3, told(("a", 2, 2))).height == 0
    lake.run(6, told(("a", 2, 2)))
    assert lake.targets(1, 2, 6) == [1, 2, 2]


def test_a_score_of_an_undated_first_version_is_known_since_ever_whatever_is_dated_before_it() -> None:
    lake = Lake(TOLD)
    lake.run(3, told(("a", None, 6)))
    lake.run(4, told(("a", 2, 7)))
    versions = lake.known.rename({"target": "final_band_score"})
    assert [known_at(versions, hour) for hour in (1, 2)] == [(6, None), (7, at(2))]


SOURCES = st.lists(
    st.dictionaries(
        st.sampled_from("abc"), st.tuples(st.none() | st.integers(-3, 12), st.none() | st.integers(0, 2)), max_size=3
    ),
    min_size=1,
    max_size=6,
)


def rows_of(source: dict[str, tuple[int | None, int | None]]) -> pl.LazyFrame:
    return told(*((user, hours, target) for user, (hours, target) in source.items()))


@examples(10, 30)
@given(SOURCES)
def test_looking_again_at_the_same_source_adds_nothing(
    sources: list[dict[str, tuple[int | None, int | None]]],
) -> None:
    lake = Lake(TOLD)
    for hour, source in enumerate(sources, start=1):
        lake.run(hour, rows_of(source))
        assert lake.run(hour, rows_of(source)).height == 0
    assert lake.run(len(sources) + 1, rows_of(sources[-1])).height == 0


@examples(10, 30)
@given(SOURCES)
def test_the_newest_version_is_what_the_source_said_last_while_its_dates_do_not_go_back(
    sources: list[dict[str, tuple[int | None, int | None]]],
) -> None:
    lake, said = Lake(TOLD), dict[str, list[tuple[int | None, int | None]]]()
    for hour, source in enumerate(sources, start=1):
        lake.run(hour, rows_of(source))
        for user, row in source.items():
            said.setdefault(user, []).append(row)
    newest = valid_at(lake.known, "user_id", at(1000)).collect()
    found = {user: (updated, target) for user, updated, target, _, _ in newest.rows()}
    assert found.keys() == said.keys()
    for user, rows in said.items():
        dates = [hours for hours, _ in rows if hours is not None]
        hours, target = rows[-1]
        if dates == sorted(dates):
            assert found[user] == (None if hours is None else at(hours), target)


@examples(10, 40)
@given(st.lists(st.integers(-3, 60), min_size=1, max_size=7))
def test_whatever_the_order_of_the_looks_versions_count_from_their_dates(dates: list[int]) -> None:
    lake = Lake(TOLD)
    for hour, date in enumerate(dates, start=1):
        lake.run(hour, told(("a", date, date)))
    instants = range(-4, 62)
    expected = [max((date for date in dates if date <= one), default=min(dates)) for one in instants]
    assert lake.targets(*instants) == expected


@examples(12, 60)
@given(SOURCES)
def test_no_two_versions_count_from_the_same_instant(
    sources: list[dict[str, tuple[int | None, int | None]]],
) -> None:
    lake = Lake(TOLD)
    for hour, source in enumerate(sources, start=1):
        lake.run(hour, rows_of(source))
    assert lake.known.select("user_id", "valid_from").collect().is_unique().all()


@examples(10, 30)
@given(
    st.lists(
        st.tuples(st.integers(1, 8), st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2)),
        max_size=5,
        unique_by=lambda run: run[0],
    )
)
def test_a_run_does_not_change_what_hours_before_its_own_or_before_the_newest_saw(
    runs: list[tuple[int, dict[str, int]]],
) -> None:
    lake = Lake(SILENT)
    for hour, source in runs:
        newest = max(lake.hours, default=0)
        settled = max(hour, newest + 1)
        before = [seen(lake, one) for one in range(settled)]
        lake.run(hour, silent(*source.items()))
        for one, users in enumerate(before):
            assert seen(lake, one).items() >= users.items()


def seen(lake: Lake, hour: int) -> dict[str, int]:
    return dict(valid_at(lake.known, "user_id", at(hour)).select("user_id", "target").collect().rows())


# --- which version counts ---


class Version(NamedTuple):
    """A version of a user, its hours from the start of the tests."""

    user: str
    valid_from: int
    seen_at: int
    target: int


VERSIONS = st.lists(
    st.builds(Version, st.sampled_from("ab"), st.integers(0, 6), st.integers(0, 6), st.integers(0, 2)),
    max_size=10,
    unique_by=lambda version: version[:3],
)


def frame(versions: list[Version]) -> pl.LazyFrame:
    rows = [(one.user, one.target, at(one.valid_from), at(one.seen_at)) for one in versions]
    return pl.LazyFrame(rows, schema=pl.Schema({**SILENT, **ADDED}), orient="row")


def plain_in_time(versions: list[Version], user: str) -> list[Version]:
    """The versions of a user in time, none of them dated: the one that was seen first has been valid since ever."""
    of_user = [version for version in versions if version.user == user]
    first = min(of_user, key=lambda one: (one.seen_at, one.valid_from))
    return [first, *sorted(one for one in of_user if one is not first)]


def plain_valid_at(versions: list[Version], hour: int) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for user in {version.user for version in versions}:
        first, *others = plain_in_time(versions, user)
        found[user] = next((one for one in reversed(others) if one.valid_from <= hour), first)
    return found


def plain_carried_since(versions: list[Version], hour: int) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for user in {version.user for version in versions}:
        since: int | None = None
        for before, one in pairwise(plain_in_time(versions, user)):
            if one.valid_from <= hour and one.target != before.target:
                since = one.valid_from
        found[user] = since
    return found


@examples(15, 50)
@given(VERSIONS, st.integers(-1, 7))
def test_the_version_of_an_hour_is_the_newest_that_has_begun_else_the_first(versions: list[Version], hour: int) -> None:
    found = valid_at(frame(versions), "user_id", at(hour)).collect()
    expected = plain_valid_at(versions, hour)
    assert found.rows() == [
        (user, one.target, at(one.valid_from), at(one.seen_at)) for user, one in sorted(expected.items())
    ]


@examples(15, 50)
@given(VERSIONS, st.integers(-1, 7))
def test_a_value_has_been_carried_since_it_last_changed(versions: list[Version], hour: int) -> None:
    found = carried_since(frame(versions), "user_id", "target", at(hour)).collect()
    expected = plain_carried_since(versions, hour)
    assert dict(found.rows()) == {user: None if since is None else at(since) for user, since in expected.items()}


def plain_with_several(versions: list[Version], first: int, last: int) -> set[str]:
    """Looks at every half hour from the first instant to the last."""
    found: dict[str, set[int]] = {}
    for user in {version.user for version in versions}:
        oldest, *others = plain_in_time(versions, user)
        for half in range(2 * first, 2 * last + 1):
            at_half = next((one for one in reversed(others) if 2 * one.valid_from <= half), oldest)
            # Before its first version a key has what it has first, as in `valid_at`.
            if at_half.target is not None:
                found.setdefault(user, set()).add(at_half.target)
    return {user for user, values in found.items() if len(values) > 1}


@examples(15, 50)
@given(VERSIONS, st.integers(-1, 7), st.integers(0, 5))
def test_keys_with_several_values_had_two_of_them_in_that_time(versions: list[Version], first: int, hours: int) -> None:
    changed = of_changed(frame(versions), "user_id")
    found = keys_with_several(changed, "user_id", "target", at(first), at(first + hours)).collect()
    assert found["user_id"].is_unique().all()
    assert set(found["user_id"]) == plain_with_several(versions, first, first + hours)


def test_a_version_counts_from_its_instant_inclusive() -> None:
    versions = frame([Version("a", 0, 0, 1), Version("a", 2, 2, 2)])
    assert valid_at(versions, "user_id", at(2)).collect()["target"].item() == 2
    assert valid_at(versions, "user_id", at(2) - timedelta(microseconds=1)).collect()["target"].item() == 1


def test_before_the_first_version_the_first_one_counts() -> None:
    assert valid_at(frame([Version("a", 5, 5, 1)]), "user_id", at(-1000)).collect()["target"].item() == 1


def test_nobody_has_a_version_where_there_is_none() -> None:
    found = valid_at(frame([]), "user_id", at(0)).collect()
    assert found.schema == pl.Schema({**SILENT, **ADDED})
    assert found.height == 0


def test_what_the_first_version_carries_has_been_carried_since_ever() -> None:
    found = carried_since(frame([Version("a", 5, 5, 1)]), "user_id", "target", at(9)).collect()
    assert found.rows() == [("a", None)]


def test_a_value_that_came_back_is_carried_since_it_came_back() -> None:
    versions = [Version("a", 0, 0, 1), Version("a", 1, 1, 2), Version("a", 2, 2, 1), Version("a", 3, 3, 1)]
    assert carried_since(frame(versions), "user_id", "target", at(9)).collect().rows() == [("a", at(2))]


def test_a_change_of_something_else_does_not_matter() -> None:
    versions = frame([Version("a", 0, 0, 1), Version("a", 2, 2, 1)])
    assert carried_since(versions, "user_id", "target", at(9)).collect().rows() == [("a", None)]


def scores(*versions: Version, told: bool) -> pl.LazyFrame:
    updated_at = pl.col("valid_from") if told else pl.lit(None, INSTANT)
    return frame(list(versions)).rename({"target": "final_band_score"}).with_columns(updated_at=updated_at)


def known_at(versions: pl.LazyFrame, hour: float) -> tuple[object, ...]:
    return users_at(versions, at(hour)).collect().select("final_band_score", "score_known_at").row(0)


@pytest.mark.parametrize("told", [True, False])
def test_a_score_that_appeared_is_known_since_then(told: bool) -> None:  # noqa: FBT001 - the two kinds of source
    versions = scores(Version("a", 0, 0, 6), Version("a", 2, 2, 7), told=told)
    assert known_at(versions, 9) == (7, at(2))


def test_a_score_of_the_first_version_is_known_since_ever_where_the_source_tells_no_time() -> None:
    assert known_at(scores(Version("a", 3, 3, 6), told=False), 9) == (6, None)


def test_a_score_of_the_first_version_is_known_since_the_time_that_the_source_tells() -> None:
    assert known_at(scores(Version("a", 3, 5, 6), told=True), 9) == (6, at(3))


def test_a_target_has_counted_since_it_was_set() -> None:
    columns = {"user_id": "keyboard_id", "target": "target_ms_per_keystroke"}
    versions = frame([Version("k", 0, 0, 200), Version("k", 3, 3, 150)]).rename(columns)
    found = keyboards_at(versions, at(3)).collect()
    assert found.select("target_ms_per_keystroke", "target_valid_from").rows() == [(150, at(3))]


# --- a partition of versions ---


def test_further_versions_join_those_of_the_partition_in_order() -> None:
    found = with_added(frame([Version("b", 0, 0, 1)]), frame([Version("a", 0, 0, 2)]), "user_id").collect()
    assert found["user_id"].to_list() == ["a", "b"]


@pytest.mark.parametrize("height", [0, 3])
def test_nothing_added_leaves_the_partition(height: int) -> None:
    old = frame([Version("a", number, number, number) for number in range(height)])
    assert with_added(old, frame([]), "user_id").collect().equals(old.collect())
