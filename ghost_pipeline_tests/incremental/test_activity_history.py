"""Figures from checkpoints, days and hours against the same figures from scratch."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.defs.ghost import materialize_cohort_ghost_data, materialize_user_ghost_stats
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.domain.ghost.activity_rollups import (
    activity_days,
    calendars,
    entity_events,
    event_activity,
    of_journeys,
)
from ghost_pipeline.domain.ghost.activity_state import ACTIVITY_SCHEMA, ActivityState
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.domain.shared.local_time import skipped_date
from ghost_pipeline.domain.shared.versions import users_at
from ghost_pipeline.errors import LakeError
from ghost_pipeline.incremental.activity_history import ActivityHistory, forget_activity
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, Month, hours
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.domain.ghost.ghost_worlds import CORNERS, TASK_TYPES, ZONES
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference import plain_ghost
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

FEW = examples(3, 8)


class World:
    """A lake with versions of users and with events, and the same figures from scratch."""

    def __init__(self, folder: Path, versions: Sequence[Row], events: Sequence[Row], until: datetime) -> None:
        self.until = until
        self.resources = RunContext.of(Settings.load(data=folder), Lake(folder / "lake"))
        frame = pl.DataFrame(
            [{**dict.fromkeys(USERS.polars_schema), **row, "seen_at": row["valid_from"]} for row in versions],
            schema_overrides=USERS.polars_schema,
            infer_schema_length=None,
        )
        self.versions = frame.select(*USERS.polars_schema).sort("user_id", "valid_from").lazy()
        hour = (pl.col("seen_at") - pl.duration(microseconds=1)).dt.truncate("1h").alias("hour")
        for (seen,), part in self.versions.collect().with_columns(hour).partition_by("hour", as_dict=True).items():
            assert isinstance(seen, datetime)
            self.lake.write(USERS, Hour.containing(seen), part.drop("hour"))
        self.write(events)

    @property
    def lake(self) -> Lake:
        return self.resources.lake

    def write(self, events: Sequence[Row]) -> None:
        known = self.versions.select("user_id").unique()
        self.progress = progress_frame(events).join(known, on="user_id", how="semi").collect().sort("completed_at")
        hour = self.progress["completed_at"].dt.truncate("1h")
        there = self.lake.hours(USER_PROGRESS)
        begin = min([hour.min() or self.until - HOUR, *(one.start for one in there)])
        window = hours(begin, self.until)  # type: ignore[arg-type]
        self.lake.write_hours(
            USER_PROGRESS, window, self.progress, hour, before=lambda changed: forget_activity(self.lake, changed)
        )

    def from_scratch(self, end: datetime) -> pl.DataFrame:
        return user_ghost_stats(users_at(self.versions, end), self.progress.lazy(), end).collect()

    def figures(self, end: datetime, *names: str) -> tuple[object, ...]:
        """Figures of the one user at the end of an hour."""
        return self.lake.scan(USER_GHOST_STATS, [Hour.ending_at(end)]).select(names).collect().row(0)

    def check(self, ends: Iterable[datetime]) -> None:
        window = [Hour.ending_at(end) for end in sorted(ends)]
        list(materialize_user_ghost_stats(self.resources, window))
        list(materialize_cohort_ghost_data(self.resources, window))
        for hour in window:
            expected = self.from_scratch(hour.as_of)
            if self.lake.exists(USER_GHOST_STATS, hour):
                assert_frame_equal(self.lake.scan(USER_GHOST_STATS, [hour]).collect(), expected)
            cohorts = cohort_ghost_data(expected.lazy(), hour.as_of).collect()
            assert_frame_equal(self.lake.scan(COHORT_GHOST_DATA, [hour]).collect(), cohorts)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[datetime, list[Row], list[Row]]:
    """An instant at a corner of the calendar, versions of some users, and events of two months around it."""
    corner = at(draw(st.sampled_from(CORNERS)))
    minutes = st.integers(-60 * 24 * 20, 60 * 24 * 8)
    versions: list[Row] = []
    for number in range(draw(st.integers(1, 4))):
        dates = draw(st.lists(minutes, min_size=1, max_size=3, unique=True))
        created = corner + timedelta(minutes=draw(minutes))
        for date in sorted(dates):
            moved = draw(st.booleans())
            row = user(
                f"u{number}",
                cohort_id=draw(st.sampled_from([None, "c1", "c2"])),
                timezone=draw(st.sampled_from(ZONES)),
                cohort_excluded=draw(st.booleans()),
                created_at=corner + timedelta(minutes=draw(minutes)) if moved else created,
            )
            del row["score_known_at"]
            versions.append({**row, "valid_from": corner + timedelta(minutes=date)})
    long_ago = st.integers(-60 * 24 * 45, 60 * 24 * 8)
    events = draw(
        st.lists(
            st.builds(
                lambda number, age, kind: event(f"u{number}", corner + timedelta(minutes=age), kind, 7.5),
                st.integers(0, 3),
                minutes | long_ago,
                st.sampled_from(TASK_TYPES),
            ),
            max_size=60,
        )
    )
    return corner, versions, events


offsets = st.lists(st.integers(-8 * 24, 8 * 24) | st.integers(-30, 30), min_size=1, max_size=4, unique=True)


@given(worlds(), st.lists(offsets, min_size=1, max_size=3))
@FEW
def test_any_hours_in_any_order_equal_those_from_scratch(
    world: tuple[datetime, list[Row], list[Row]], ranges: list[list[int]]
) -> None:
    corner, versions, events = world
    with TemporaryDirectory() as folder:
        found = World(Path(folder), versions, events, corner + timedelta(days=9))
        for chosen in ranges:
            found.check(corner + number * HOUR for number in chosen)


@given(worlds(), st.randoms(use_true_random=False), offsets)
@FEW
def test_replaced_events_of_the_past_count_at_once(
    world: tuple[datetime, list[Row], list[Row]], chance: object, chosen: list[int]
) -> None:
    corner, versions, events = world

    def some() -> list[Row]:
        return [one for one in events if chance.random() < 0.7]  # type: ignore[attr-defined]

    with TemporaryDirectory() as folder:
        found = World(Path(folder), versions, some(), corner + timedelta(days=9))
        ends = [corner + number * HOUR for number in chosen]
        found.check(ends)
        found.write(some())
        found.check(ends)


@given(worlds(), st.data())
@FEW
def test_activity_adds_up_over_any_split(world: tuple[datetime, list[Row], list[Row]], data: st.DataObject) -> None:
    corner, versions, events = world
    month = Month.containing(corner)
    mine = [one for one in events if month.start <= one["completed_at"] < month.as_of]
    users = calendars(users_frame([{**one, "score_known_at": None} for one in versions])).unique("user_id")
    entities = users.sort("user_id").with_row_index("entity").collect().lazy()
    parts = data.draw(st.lists(st.integers(0, 3), min_size=len(mine), max_size=len(mine)))

    def activity(chosen: list[Row], *, by_day: bool) -> pl.DataFrame:
        rows = event_activity(progress_frame(chosen), entities)
        if by_day:
            rows = activity_days(rows).join(entities.select("entity", "user_id", "created_date"), on="user_id")
        return of_journeys(rows.collect()).select(ACTIVITY_SCHEMA.names()).cast(ACTIVITY_SCHEMA)

    whole = ActivityState.empty(4, month)
    whole.add(activity(mine, by_day=False))
    split = ActivityState.empty(4, month)
    for part in data.draw(st.permutations(range(4))):
        split.add(activity([one for one, of in zip(mine, parts, strict=True) if of == part], by_day=part % 2 == 0))
    assert_frame_equal(split.checkpoint(), whole.checkpoint())
    one_by_one = ActivityState.empty(4, month)
    for part in range(4):
        some = [one for one, of in zip(mine, parts, strict=True) if of == part]
        one_by_one.add_events(entity_events(progress_frame(some), entities.collect()))
    assert_frame_equal(one_by_one.checkpoint(), whole.checkpoint())


SKIPPED = dict(
    pl.LazyFrame({"zone": sorted(available_timezones())})
    .with_columns(date=skipped_date(pl.col("zone")))
    .drop_nulls()
    .collect()
    .iter_rows()
)
"""The zones that moved across the date line, each with the date that it skipped."""


def of_zone(zone: str, days: Iterable[int], folder: Path) -> tuple[World, Callable[[int, int], datetime]]:
    """Return a world of a learner who practised on days around the skipped date (0), and local hours."""

    def local(day: int, hour: int) -> datetime:
        there = datetime.combine(SKIPPED[zone] + timedelta(days=day), time(hour), ZoneInfo(zone))
        return there.astimezone(UTC)

    version = {**user("u0", created_at=local(-60, 12)), "valid_from": local(-60, 12), "timezone": zone}
    del version["score_known_at"]
    events = [event("u0", local(day, 12)) for day in days]
    return World(folder, [version], events, local(40, 0)), local


@pytest.mark.parametrize("zone", SKIPPED)
def test_a_date_that_never_existed_does_not_break_a_streak(zone: str, tmp_path: Path) -> None:
    world, local = of_zone(zone, (-2, -1, 1, 2), tmp_path)
    found = []
    for day, hour in ((1, 8), (3, 16), (4, 16), (35, 16)):
        world.check([local(day, hour)])
        found.append(world.figures(local(day, hour), "current_streak", "longest_streak", "streak_status"))
    assert found == [
        (2, 2, "at_risk"),
        (4, 4, "at_risk"),
        (0, 4, "broken"),
        (0, 4, "broken"),
    ]


@given(
    st.sampled_from(sorted(SKIPPED)),
    st.sets(st.integers(-40, 20)),
    st.sets(st.integers(-12, 38), min_size=1, max_size=2),
)
@FEW
def test_running_totals_around_a_date_that_never_existed_equal_those_from_scratch(
    zone: str, practised: set[int], seen: set[int]
) -> None:
    with TemporaryDirectory() as folder:
        world, local = of_zone(zone, practised - {0}, Path(folder))
        world.check(local(day, 16) for day in seen - {0} or {1})
        last = max(seen - {0} or {1})
        by_hand = plain_ghost.user_stats(
            world.versions.collect().row(0, named=True), world.progress.to_dicts(), local(last, 16)
        )
        names = ("current_streak", "longest_streak", "streak_status", "days_practiced")
        assert world.figures(local(last, 16), *names) == tuple(by_hand[name] for name in names)


def test_a_run_over_months_keeps_its_length(tmp_path: Path) -> None:
    start = at("2024-10-05T23:30")
    events = [event("u0", start + timedelta(days=day)) for day in range(170) if day != 20]
    version = {**user("u0", created_at=start), "valid_from": start, "timezone": "America/New_York"}
    del version["score_known_at"]
    world = World(tmp_path, [version], events, at("2025-03-20T00:00"))
    world.check([at("2025-03-01T00:00"), at("2025-03-03T05:00")])
    stats = world.lake.scan(USER_GHOST_STATS, [Hour.ending_at(at("2025-03-03T05:00"))]).collect()
    assert stats["current_streak"].item() == (at("2025-03-02") - at("2024-10-25")).days
    assert world.lake.scan(USER_ACTIVITY_CHECKPOINTS).collect().height == 4


def test_days_and_checkpoints_are_read_and_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event("u0", at("2025-01-10T08:00") + timedelta(days=day)) for day in range(70)]
    version = {**user("u0", created_at=at("2025-01-01T00:00")), "valid_from": at("2025-01-01T00:00")}
    del version["score_known_at"]
    world = World(tmp_path, [version], events, at("2025-03-20T00:00"))
    world.check([at("2025-03-12T12:00")])
    read: list[tuple[datetime, datetime]] = []
    scan = Lake.scan_hours

    def watched(lake: Lake, contract: object, start: datetime, end: datetime) -> pl.LazyFrame:
        read.append((start, end))
        return scan(lake, contract, start, end)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "scan_hours", watched)
    world.check([at("2025-03-12T13:00")])
    today, week_ago = at("2025-03-12T00:00"), at("2025-03-05T13:00")
    assert read == [(today, at("2025-03-12T13:00")), (week_ago, at("2025-03-06T00:00"))]


def test_events_before_the_journey_are_counted_however_long_ago_they_were(tmp_path: Path) -> None:
    days = ("2025-01-31T22:59", "2025-01-31T23:01", "2025-02-20T08:00", "2025-03-11T08:00")
    version = {**user("u0", created_at=at("2025-02-01T12:00")), "valid_from": at("2025-01-01T00:00")}
    version["timezone"] = "Europe/Rome"
    del version["score_known_at"]
    events = [event("u0", day) for day in (*days, "2025-01-02T08:00")]
    world = World(tmp_path, [version], events, at("2025-03-20T00:00"))
    window = [Hour.ending_at(at("2025-03-12T12:00"))]
    (outcome,) = materialize_user_ghost_stats(world.resources, window)
    assert outcome.findings["events_before_their_journey"] == 2
    assert world.lake.scan(USER_GHOST_STATS, window).collect()["tasks_completed"].item() == 3


def test_a_lost_hour_of_events_stops_the_step(tmp_path: Path) -> None:
    events = [event("u0", at("2025-03-10T08:00")), event("u0", at("2025-03-12T08:00"))]
    version = {**user("u0"), "valid_from": at("2025-03-01T00:00")}
    del version["score_known_at"]
    world = World(tmp_path, [version], events, at("2025-03-20T00:00"))
    world.lake.remove(USER_PROGRESS, Hour.containing(at("2025-03-11T05:00")))
    with pytest.raises(LakeError, match=r"user_progress: 1 of .* are not in the lake \(2025-03-11-05:00\)"):
        world.check([at("2025-03-12T12:00")])


def test_a_checkpoint_is_the_same_however_it_came_about(tmp_path: Path) -> None:
    events = [event(f"u{number % 3}", at("2024-12-20T08:00") + timedelta(hours=7 * number)) for number in range(200)]
    rows = [{**user(f"u{number}"), "valid_from": at("2024-12-01T00:00")} for number in range(3)]
    world = World(
        tmp_path,
        [{k: v for k, v in row.items() if k != "score_known_at"} for row in rows],
        events,
        at("2025-04-01T00:00"),
    )
    entities = calendars(users_at(world.versions, at("2025-03-01T00:00"))).sort("user_id").with_row_index("entity")
    history = ActivityHistory(world.lake, entities.select("entity", "user_id", "timezone", "created_date").collect())
    month = Month.from_key("2025-01")
    in_steps = history.checkpoint(month)
    at_once = history.from_events(month).checkpoint()
    assert_frame_equal(in_steps.select(at_once.columns), at_once)
    assert np.all(in_steps["user_id"].is_sorted())
    assert world.lake.days(USER_ACTIVITY_DAYS) == []
