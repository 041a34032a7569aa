"""Events of achievers that the tables of a month share: read once, and again whenever they may differ."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.months import MONTHLY_FIGURES
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.domain.ghost.benchmarks import shards as shards_of_users
from ghost_pipeline.incremental import achiever_events
from ghost_pipeline.incremental.achiever_events import AchieverEvents
from ghost_pipeline.lake.concurrent_replace import ConcurrentReplaceError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour, Month

FEBRUARY = Month.from_key("2025-02")
FIRST = datetime(2025, 2, 28, 21, tzinfo=UTC)
PEOPLE = ("ann", "ben", "cleo", "dora", "eli")
ACHIEVERS = PEOPLE[:-1]
Shards = list[tuple[list[int], list[tuple[object, ...]]]]


def write(lake: Lake, number: int, *people: str) -> None:
    """Write the hour of that number from 21:00 on, with an event for each of some people."""
    hour = Hour.containing(FIRST.replace(hour=21 + number))
    rows = [
        (f"{number}-{place}", who, "reading", hour.start.replace(minute=place), 1000 * place + number)
        for place, who in enumerate(people)
    ]
    lake.write(USER_PROGRESS, hour, pl.DataFrame(rows, schema=USER_PROGRESS.polars_schema, orient="row"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    write(lake, 0, "ann", "ben", "ann", "eli")
    write(lake, 1, "dora", "cleo")
    write(lake, 2)
    return lake


def shards(lake: Lake, table: int = 0, count: int = 2, people: tuple[str, ...] = ACHIEVERS) -> Shards:
    """What a table is given: numbers of people, and rows of events in order."""
    events = AchieverEvents(lake, FEBRUARY, pl.LazyFrame({"user_id": people}), count)
    return [
        (users.collect()["user_id"].to_list(), sorted(some.collect().rows()))
        for users, some in events.shards(MONTHLY_FIGURES[table], MONTHLY_FIGURES)
    ]


def events_of(found: Shards) -> list[tuple[object, ...]]:
    return sorted(event for _, events in found for event in events)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each part of the lake that is read."""
    found: list[int] = []
    compact = shards_of_users.compact

    def counted(*frames: pl.LazyFrame) -> pl.LazyFrame:
        found.append(len(found))
        return compact(*frames)

    monkeypatch.setattr(achiever_events, "compact", counted)
    return found


def test_events_carry_the_number_of_their_user(lake: Lake) -> None:
    minutes = [(user, when.hour, ms) for when, ms, _, user in events_of(shards(lake))]  # type: ignore[attr-defined]
    assert minutes == [(0, 21, 0), (1, 21, 1000), (0, 21, 2000), (3, 22, 1), (2, 22, 1001)]


def test_each_shard_has_the_events_of_its_people(lake: Lake) -> None:
    for people, events in shards(lake, count=3):
        assert {event[-1] for event in events} == set(people)


def test_the_tables_of_a_month_read_the_lake_once(lake: Lake, reads: list[int]) -> None:
    found = [shards(lake, table) for table in range(len(MONTHLY_FIGURES))]
    assert reads == [0]
    assert found == [found[0]] * len(found)


def test_the_last_table_removes_the_cache(lake: Lake) -> None:
    for table in range(len(MONTHLY_FIGURES)):
        shards(lake, table)
    assert not (lake.root / ".cache" / "achiever_events").exists()


def test_a_table_that_is_built_twice_leaves_the_cache_to_the_others(lake: Lake, reads: list[int]) -> None:
    for table in (0, 0, 0, 1, 2):
        shards(lake, table)
    assert reads == [0]


def test_other_events_are_read_again(lake: Lake, reads: list[int]) -> None:
    shards(lake)
    write(lake, 2, "ben")
    assert len(events_of(shards(lake, 1))) == 6
    assert reads == [0, 1]


def test_other_people_are_read_again(lake: Lake) -> None:
    shards(lake)
    assert len(events_of(shards(lake, 1, people=PEOPLE))) == 6


def test_another_number_of_shards_reads_again(lake: Lake) -> None:
    assert len(shards(lake, count=2)) == 2
    assert len(shards(lake, 1, count=4)) == 4


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"no frame")])
def test_a_missing_or_damaged_frame_is_read_again(lake: Lake, damage: object) -> None:
    whole = shards(lake)
    damage(next((lake.root / ".cache" / "achiever_events").glob("shard-*/*")))  # type: ignore[operator]
    with pytest.raises(ConcurrentReplaceError):
        shards(lake, 1)
    assert shards(lake, 1) == whole


def test_events_that_change_while_they_are_read_are_not_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    compact = shards_of_users.compact

    def changing(*frames: pl.LazyFrame) -> pl.LazyFrame:
        write(lake, 2, "ben", "ben")
        return compact(*frames)

    monkeypatch.setattr(achiever_events, "compact", changing)
    with pytest.raises(ConcurrentReplaceError):
        shards(lake)
    monkeypatch.undo()
    assert len(events_of(shards(lake))) == 7


@given(
    st.lists(st.lists(st.sampled_from(PEOPLE), max_size=6), min_size=3, max_size=3),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_parts_of_any_size_give_the_same_events(
    tmp_path_factory: pytest.TempPathFactory, people: list[list[str]], count: int, rows: int
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    for number, some in enumerate(people):
        write(lake, number, *some)
    whole = shards(lake, count=count)
    assert len(events_of(whole)) == sum(who in ACHIEVERS for some in people for who in some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(achiever_events, "READ_BYTES", 1)
        patch.setattr(achiever_events, "FRAME_ROWS", rows)
        # Another number of people has another cache.
        apart = shards(lake, count=count, people=(*ACHIEVERS, "zoe"))
    assert events_of(apart) == events_of(whole)
