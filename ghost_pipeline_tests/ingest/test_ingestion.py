"""What a run takes in: the look-back window, gaps, late and repeated events, versions."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.raw import REJECTED_ROWS, SOURCE_TABLES, USER_PROGRESS, USERS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.contracts.staleness import STALE_HOURS
from ghost_pipeline.defs.ghost import materialize_cohort_ghost_data, materialize_user_ghost_stats
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.shared.versions import users_at
from ghost_pipeline.errors import LakeError, SourceError
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.ingest.source_rows import reading
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.running import lake_digest

Row = dict[str, object]
NOON = "2025-03-12-11:00"


class Source:
    """A source of learners that a test changes between runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "source"
        self.folder.mkdir()
        self.users: list[Row] = [{"user_id": "u1", "created_at": "2025-01-01T00:00:00Z"}]
        self.events: list[Row] = []
        settings = Settings.load(source=str(self.folder), data=folder / "data")
        self.resources = RunContext.of(settings)

    @property
    def lake(self) -> Lake:
        return self.resources.lake

    def event(self, name: str, at: str, **values: object) -> None:
        event = {"progress_id": name, "user_id": "u1", "task_type": "reading", "completed_at": at}
        self.events.append({**event, "time_spent_minutes": 1, **values})

    def set(self, **values: object) -> None:
        self.resources = RunContext.of(self.resources.settings.model_copy(update=values), self.resources.lake)

    def run(self, hour: str) -> dict[str, TableResult]:
        self.write()
        wanted = {"users", "cohorts", "user_progress"}
        steps = [asset for asset in RAW_ASSETS if asset.contract.name in wanted]
        return {asset.contract.name: compute_one(asset.compute, self.resources, Hour.from_key(hour)) for asset in steps}

    def write(self) -> None:
        for name, rows in {"users": self.users, "cohorts": [], "user_progress": self.events}.items():
            columns = dict.fromkeys(column.name for column in SOURCE_TABLES[name].columns)
            text = "".join(json.dumps({**columns, **row}) + "\n" for row in rows)
            (self.folder / f"{name}.ndjson").write_text(text, encoding="utf-8")

    def taken_in(self) -> list[str]:
        return self.lake.scan(USER_PROGRESS).collect()["progress_id"].sort().to_list()

    def rejected(self) -> list[tuple[str, datetime | None, str]]:
        return self.lake.scan(REJECTED_ROWS).select("source_table", "hour", "reason").collect().rows()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_the_first_run_takes_in_everything_before_its_end(source: Source) -> None:
    source.event("old", "2024-11-01T00:00:00Z")
    source.event("last", "2025-03-12T11:59:59.999999Z")
    source.event("next", "2025-03-12T12:00:00Z")
    source.run(NOON)
    assert source.taken_in() == ["last", "old"]


def test_an_hour_without_events_is_an_empty_file(source: Source) -> None:
    source.event("one", "2025-03-12T05:00:00Z")
    source.run(NOON)
    assert [hour.hour for hour in source.lake.hours(USER_PROGRESS)] == [5, 6, 7, 8, 9, 10, 11]
    assert source.lake.rows(USER_PROGRESS, Hour.from_key("2025-03-12-06:00")) == 0


def test_a_silence_that_grows_between_runs_leaves_no_hour_missing(source: Source) -> None:
    source.event("only", "2025-02-10T00:00:00Z")
    for hour in ("2025-02-23-00:00", "2025-03-09-00:00", "2025-03-23-00:00"):
        source.run(hour)
        (outcome,) = materialize_user_ghost_stats(source.resources, [Hour.from_key(hour)])
        assert outcome.rows == 1


def test_a_source_without_events_still_says_that_the_hour_was_read(source: Source) -> None:
    source.run(NOON)
    assert source.lake.hours(USER_PROGRESS) == [Hour.from_key(NOON)]


def test_a_later_run_fills_in_the_hours_between(source: Source) -> None:
    source.event("one", "2025-03-01T05:00:00Z")
    source.run("2025-03-01-05:00")
    source.event("between", "2025-03-05T07:00:00Z")
    source.run(NOON)
    assert source.taken_in() == ["between", "one"]


def test_a_lost_hour_is_read_again(source: Source) -> None:
    source.event("first", "2025-01-05T05:00:00Z")
    source.event("lost", "2025-01-20T05:00:00Z")
    source.run(NOON)
    source.lake.remove(USER_PROGRESS, Hour.from_key("2025-01-20-05:00"))
    source.run(NOON)
    assert source.taken_in() == ["first", "lost"]


def test_a_step_that_needs_a_lost_hour_names_it(source: Source) -> None:
    source.event("one", "2025-03-12T05:00:00Z")
    source.run(NOON)
    source.lake.remove(USER_PROGRESS, Hour.from_key("2025-03-12-07:00"))
    with pytest.raises(LakeError, match=r"user_progress: 1 of 7 hours .* \(2025-03-12-07:00\)"):
        source.lake.scan_until(USER_PROGRESS, Hour.from_key(NOON).as_of)


def test_a_late_event_within_the_look_back_is_taken_in(source: Source) -> None:
    source.event("one", "2025-03-01T00:00:00Z")
    source.run(NOON)
    source.event("late", "2025-03-10T13:00:00Z")
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["late", "one"]


def test_an_event_later_than_the_look_back_is_taken_in_at_once(source: Source) -> None:
    source.event("one", "2025-03-01T00:00:00Z")
    source.run(NOON)
    source.event("later", "2025-03-05T11:00:00Z")
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["later", "one"]


def test_an_old_event_that_a_changed_file_no_longer_has_is_gone(source: Source) -> None:
    source.event("old", "2025-03-01T00:00:00Z")
    source.event("new", "2025-03-12T11:00:00Z")
    source.run(NOON)
    del source.events[0]
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["new"]


def test_a_repeated_id_is_one_event_however_far_apart(source: Source) -> None:
    source.event("twice", "2025-03-01T00:00:00Z")
    source.event("twice", "2025-03-12T11:30:00Z")
    source.run(NOON)
    source.run("2025-03-12-12:00")
    assert source.lake.scan(USER_PROGRESS).select(pl.len()).collect().item() == 1


def test_a_time_that_is_corrected_moves_the_event(source: Source) -> None:
    source.event("first", "2025-03-01T00:00:00Z")
    source.event("moved", "2025-03-12T11:30:00Z")
    source.run(NOON)
    source.events[1]["completed_at"] = "2025-03-04T00:00:00Z"
    source.run("2025-03-12-12:00")
    assert source.lake.scan(USER_PROGRESS).collect()["completed_at"].dt.day().sort().to_list() == [1, 4]


def test_a_user_who_is_corrected_brings_all_their_events(source: Source) -> None:
    source.users[0]["final_band_score"] = 9.5
    source.event("old", "2025-03-01T00:00:00Z")
    source.event("new", "2025-03-12T11:00:00Z")
    source.run(NOON)
    assert source.taken_in() == []
    source.users[0]["final_band_score"] = 9.0
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["new", "old"]
    assert source.rejected() == []


def test_an_event_of_another_decade_costs_one_file(source: Source) -> None:
    source.event("ancient", "1971-01-01T00:00:00Z")
    source.event("one", "2025-03-12T09:00:00Z")
    source.run(NOON)
    assert len(source.lake.hours(USER_PROGRESS)) == 4
    assert source.lake.scan_until(USER_PROGRESS, Hour.from_key(NOON).as_of).collect().height == 2


def test_a_run_after_a_long_silence_says_that_its_hour_was_read(source: Source) -> None:
    source.event("one", "2024-01-01T00:00:00Z")
    source.run("2024-01-01-00:00")
    source.run(NOON)
    assert source.lake.complete_until(USER_PROGRESS) == Hour.from_key(NOON).as_of


def test_an_event_before_the_first_hour_leaves_no_gap(source: Source) -> None:
    source.event("one", "2025-03-12T11:30:00Z")
    source.run(NOON)
    source.event("before", "2025-03-11T08:00:00Z")
    source.run("2025-03-12-12:00")
    assert source.lake.scan_until(USER_PROGRESS, Hour.from_key("2025-03-12-12:00").as_of).collect().height == 2


def test_the_same_id_in_two_hours_is_the_earlier_event(source: Source) -> None:
    source.event("twice", "2025-03-12T11:00:00Z")
    source.event("twice", "2025-03-12T09:00:00Z")
    outcome = source.run(NOON)["user_progress"]
    rows = source.lake.scan(USER_PROGRESS).collect()
    assert rows["completed_at"].to_list() == [datetime(2025, 3, 12, 9, tzinfo=UTC)]
    assert outcome.metadata["repeated_events_merged"] == 1


def test_an_event_that_is_gone_from_the_source_is_gone(source: Source) -> None:
    for number in range(5):
        source.event(f"e{number}", "2025-03-12T11:00:00Z")
    source.run(NOON)
    del source.events[2]
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["e0", "e1", "e3", "e4"]


def test_a_source_that_lost_more_of_an_hour_than_is_likely_stops_the_run(source: Source) -> None:
    for number in range(40):
        source.event(f"e{number}", "2025-03-12T11:00:00Z")
    source.run(NOON)
    before = lake_digest(source.resources.settings.local)
    del source.events[20:30]
    told = r"user_progress, partition 2025-03-12-11:00: 10 of 40 rows .* more than GHOST_MAX_REMOVED_PERCENT \(20\)"
    with pytest.raises(SourceError, match=told):
        source.run("2025-03-12-12:00")
    assert {name: lake_digest(source.resources.settings.local)[name] for name in before} == before


def test_an_hour_of_a_few_rows_may_lose_all_of_them(source: Source) -> None:
    for number in range(9):
        source.event(f"e{number}", "2025-03-12T11:00:00Z")
    source.run(NOON)
    source.events.clear()
    source.run("2025-03-12-12:00")
    assert source.taken_in() == []


def test_the_fewest_rows_that_stop_a_run_can_be_set(source: Source) -> None:
    source.event("gone", "2025-03-12T11:00:00Z")
    source.run(NOON)
    source.events.clear()
    source.set(min_removed_rows=1)
    with pytest.raises(SourceError, match="1 of 1 rows are no longer in the source"):
        source.run("2025-03-12-12:00")


def test_deletions_that_are_accepted_go_through(source: Source) -> None:
    for number in range(12):
        source.event(f"e{number}", "2025-03-12T11:00:00Z")
    source.run(NOON)
    source.events.clear()
    source.set(accept_deletions=True)
    source.run("2025-03-12-12:00")
    assert source.taken_in() == []


def test_an_event_that_moved_to_another_hour_is_not_gone(source: Source) -> None:
    source.event("moved", "2025-03-12T11:00:00Z")
    source.run(NOON)
    source.events[0]["completed_at"] = "2025-03-12T10:00:00Z"
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["moved"]


def test_what_a_source_no_longer_keeps_stays_in_the_lake(source: Source) -> None:
    source.set(source_keeps=3, lookback_hours=48)
    for hour in range(12):
        source.event(f"e{hour:02}", f"2025-03-12T{hour:02}:30:00Z")
    source.run(NOON)
    del source.events[:9]
    source.run("2025-03-12-12:00")
    assert source.taken_in() == [f"e{hour:02}" for hour in range(12)]


def test_a_late_event_older_than_the_source_keeps_is_added_to_its_hour(source: Source) -> None:
    source.set(source_keeps=3)
    source.event("first", "2025-03-12T01:00:00Z")
    source.event("old", "2025-03-12T05:30:00Z")
    source.run(NOON)
    source.events.clear()
    source.event("late", "2025-03-12T05:10:00Z")
    source.event("new", "2025-03-12T12:10:00Z")
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["first", "late", "new", "old"]
    of_hour = source.lake.scan(USER_PROGRESS, [Hour.from_key("2025-03-12-05:00")]).collect()
    assert of_hour["progress_id"].to_list() == ["late", "old"]


def test_what_the_source_keeps_is_counted_from_the_newest_hour(source: Source) -> None:
    for hour in range(12):
        source.event(f"e{hour:02}", f"2025-03-12T{hour:02}:30:00Z")
    source.run(NOON)
    source.set(source_keeps=3)
    source.events = source.events[9:]
    source.run("2025-03-12-05:00")
    assert source.taken_in() == [f"e{hour:02}" for hour in range(12)]


@pytest.mark.parametrize(("before", "after"), [("08T08:00", "12T11:30"), ("12T11:30", "08T08:00")])
def test_an_event_that_moved_over_the_look_back_stays_one(source: Source, before: str, after: str) -> None:
    source.set(accept_deletions=True)
    source.event("first", "2025-03-07T00:00:00Z")
    source.event("moved", f"2025-03-{before}:00Z")
    source.run(NOON)
    source.events[1]["completed_at"] = f"2025-03-{after}:00Z"
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["first", "moved"]


def test_a_late_event_inside_a_silence_leaves_no_hour_missing(source: Source) -> None:
    source.event("first", "2025-01-10T00:00:00Z")
    source.run(NOON)
    source.event("late", "2025-02-01T00:00:00Z")
    last = Hour.from_key("2025-03-12-12:00")
    source.run(last.key)
    (outcome,) = materialize_user_ghost_stats(source.resources, [last])
    assert outcome.rows == 1


def test_what_is_taken_in_while_hours_are_built_makes_them_stale(source: Source) -> None:
    source.event("first", "2025-03-12T06:00:00Z")
    source.run(NOON)
    window = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (8, 9, 10)]
    mark_building = iter(materialize_cohort_ghost_data(source.resources, window))
    next(mark_building)
    source.event("late", "2025-03-12T08:10:00Z")
    source.run("2025-03-12-12:00")
    list(mark_building)
    assert [start.hour for start in stale_hours(source.lake)["hour"]] == [8, 9, 10]
    list(materialize_cohort_ghost_data(source.resources, window))
    assert stale_hours(source.lake).is_empty()
    assert source.lake.scan(STALE_HOURS).collect().is_empty()


def test_a_snapshot_does_not_trust_stale_rows_of_users(source: Source) -> None:
    source.event("first", "2025-03-12T06:00:00Z")
    source.run(NOON)
    hour = Hour.from_key(NOON)
    list(materialize_user_ghost_stats(source.resources, [hour]))
    source.event("late", "2025-03-12T08:10:00Z")
    source.run("2025-03-12-12:00")
    list(materialize_cohort_ghost_data(source.resources, [hour]))
    totals = source.lake.scan(COHORT_GHOST_DATA, [hour]).collect().filter(pl.col("cohort_id") == "global")
    assert float(totals["avg_tasks_completed"].item()) == 2.0


def test_built_hours_from_a_late_event_on_are_stale(source: Source) -> None:
    source.event("first", "2025-03-12T06:00:00Z")
    source.run(NOON)
    built = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (7, 8, 9, 11)]
    list(materialize_cohort_ghost_data(source.resources, built))
    source.event("late", "2025-03-12T08:59:59Z")
    source.run("2025-03-12-12:00")
    found = stale_hours(source.lake)
    assert [start.hour for start in found["hour"]] == [8, 9, 11]
    assert set(found.drop("hour").rows()) == {
        ("cohort_ghost_data", datetime(2025, 3, 12, 8, tzinfo=UTC), datetime(2025, 3, 12, 13, tzinfo=UTC))
    }
    list(materialize_cohort_ghost_data(source.resources, built[1:3]))
    assert [start.hour for start in stale_hours(source.lake)["hour"]] == [11]


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"cohort_id": "c2"}, [9, 11]),
        ({"timezone": "Asia/Tokyo"}, [9, 11]),
        ({"final_band_score": 7.5}, []),
    ],
)
def test_built_hours_from_a_version_on_are_stale_where_they_show_it(
    source: Source, change: Row, stale: list[int]
) -> None:
    source.users[0]["updated_at"] = "2025-01-01T00:00:00Z"
    source.event("first", "2025-03-12T06:00:00Z")
    source.run(NOON)
    built = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (8, 9, 11)]
    list(materialize_cohort_ghost_data(source.resources, built))
    source.users[0] |= {"updated_at": "2025-03-12T09:20:00Z", **change}
    source.run("2025-03-12-12:00")
    assert [start.hour for start in stale_hours(source.lake)["hour"]] == stale


@pytest.mark.parametrize(
    ("looks", "stale"),
    [
        pytest.param([(None, "c1"), ("2025-03-12T09:20:00Z", "c2")], [9, 11], id="after an undated first version"),
        pytest.param(
            [("2025-03-12T10:20:00Z", "c1"), ("2025-03-12T09:20:00Z", "c2")], [8, 9, 11], id="before the first"
        ),
        pytest.param(
            [("2025-01-01T00:00:00Z", "c1"), ("2025-03-12T11:20:00Z", "c2"), ("2025-03-12T09:20:00Z", "c3")],
            [9, 11],
            id="between two versions",
        ),
        pytest.param([("2025-03-12T10:20:00Z", "c1"), ("2025-03-12T09:20:00Z", "c1")], [], id="same cohort"),
    ],
)
def test_built_hours_that_a_version_in_its_place_changes_are_stale(
    source: Source, looks: list[tuple[str | None, str]], stale: list[int]
) -> None:
    source.event("first", "2025-03-12T06:00:00Z")
    *earlier, last = looks
    for updated, cohort in earlier:
        source.users[0] |= {"updated_at": updated, "cohort_id": cohort}
        source.run(NOON)
    built = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (8, 9, 11)]
    list(materialize_cohort_ghost_data(source.resources, built))
    source.users[0] |= {"updated_at": last[0], "cohort_id": last[1]}
    source.run("2025-03-12-12:00")
    assert [start.hour for start in stale_hours(source.lake)["hour"]] == stale


@pytest.mark.parametrize("updated", [None, "2025-03-12T11:20:00Z"])
def test_built_hours_that_show_a_first_version_are_stale_once_a_second_look_replaces_it(
    source: Source, updated: str | None
) -> None:
    source.event("first", "2025-03-12T06:00:00Z")
    source.users[0] |= {"updated_at": updated, "cohort_id": "c1"}
    source.run(NOON)
    built = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (9, 10, 11)]
    list(materialize_cohort_ghost_data(source.resources, built))
    source.users[0] |= {"updated_at": None, "cohort_id": "c2"}
    source.run(NOON)
    assert [start.hour for start in stale_hours(source.lake)["hour"]] == [9, 10, 11]


def test_built_hours_from_the_creation_of_a_late_user_on_are_stale(source: Source) -> None:
    source.event("first", "2025-03-12T06:00:00Z")
    source.run(NOON)
    built = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (8, 9, 11)]
    list(materialize_cohort_ghost_data(source.resources, built))
    source.users.append({"user_id": "u2", "created_at": "2025-03-12T09:00:00Z"})
    source.run("2025-03-12-12:00")
    assert [start.hour for start in stale_hours(source.lake)["hour"]] == [9, 11]


def test_a_range_of_hours_reads_the_source_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in range(5, 12):
        source.event(f"e{hour:02}", f"2025-03-12T{hour:02}:30:00Z")
    reads: list[str] = []
    scan_parts = FileSource.scan_parts

    def counted(found: FileSource, table: SourceTable, parts: Sequence[str]) -> Iterator[pl.LazyFrame]:
        reads.append(table.name)
        return scan_parts(found, table, parts)

    monkeypatch.setattr(FileSource, "scan_parts", counted)
    source.write()
    asset = next(asset for asset in RAW_ASSETS if asset.contract is USER_PROGRESS)
    users = next(asset for asset in RAW_ASSETS if asset.contract is USERS)
    window = [Hour.from_key(f"2025-03-12-{hour:02}:00") for hour in (9, 10, 11)]
    list(users.compute(source.resources, window))
    assert [outcome.rows for outcome in asset.compute(source.resources, window)] == [1, 1, 1]
    assert reads.count("user_progress") == 1
    assert len(source.taken_in()) == 7


# Two months in which events come late, twice, again in another form, and go, against one look at what is left.
_names = st.integers(0, 25)
_changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _names, st.integers(0, 24 * 40)),
        st.tuples(st.just("drop"), _names, st.just(0)),
    ),
    max_size=12,
)


@given(st.lists(_changes, min_size=1, max_size=4))
@examples(3, 8)
def test_late_repeated_and_deleted_events_end_as_from_scratch(rounds: list[list[tuple[str, int, int]]]) -> None:
    start = datetime(2025, 2, 10, tzinfo=UTC)
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        source, anew = Source(Path(one)), Source(Path(other))
        for each in (source, anew):
            each.set(accept_deletions=True, lookback_hours=24 * 60)
            each.event("first", "2025-02-10T00:00:00Z")
        last = Hour.containing(start)
        for number, changes in enumerate(rounds):
            for what, name, hours in changes:
                source.events = [row for row in source.events if row["progress_id"] != f"e{name}"]
                if what == "put":
                    source.event(f"e{name}", f"{start + timedelta(hours=hours, minutes=7):%Y-%m-%dT%H:%M:%SZ}")
            last = Hour.containing(start + timedelta(days=14 * (number + 1) - 1))
            source.run(last.key)
            list(materialize_user_ghost_stats(source.resources, [last]))
            list(materialize_cohort_ghost_data(source.resources, [last]))
        anew.events = source.events
        anew.run(last.key)
        list(materialize_user_ghost_stats(anew.resources, [last]))
        list(materialize_cohort_ghost_data(anew.resources, [last]))
        for table in (USER_PROGRESS, USER_GHOST_STATS, COHORT_GHOST_DATA):
            found, expected = (
                each.lake.scan(table, [last]) if table is not USER_PROGRESS else each.lake.scan(table)
                for each in (source, anew)
            )
            assert_frame_equal(found.collect(), expected.collect())


def test_a_rejected_row_lies_in_the_hour_of_its_event(source: Source) -> None:
    source.event("bad", "2025-03-12T09:10:00Z", task_type="podcast")
    source.event("nowhen", "never")
    source.run(NOON)
    assert [(table, hour) for table, hour, _ in source.rejected()] == [
        ("user_progress", datetime(2025, 3, 12, 9, tzinfo=UTC)),
        ("user_progress", None),
    ]


def test_a_task_of_more_minutes_than_are_set_is_rejected(source: Source) -> None:
    source.set(max_task_minutes=60)
    source.event("long", "2025-03-12T10:10:00Z", time_spent_minutes=61)
    source.event("ok", "2025-03-12T10:20:00Z", time_spent_minutes=60)
    source.run(NOON)
    assert source.taken_in() == ["ok"]
    assert [reason for _, _, reason in source.rejected()] == ["time_spent_minutes is above 60"]


def test_an_hour_whose_rows_are_all_spoilt_at_once_stops_the_run(source: Source) -> None:
    for number in range(12):
        source.event(f"e{number}", f"2025-03-12T10:{number:02}:00Z")
    source.run(NOON)
    for row in source.events:
        row["task_type"] = "podcast"
    with pytest.raises(SourceError, match=r"10:00: 12 of 12 rows that were good are now rejected.*doctor"):
        source.run("2025-03-12-12:00")
    assert len(source.taken_in()) == 12


def test_deleted_and_spoilt_rows_count_together(source: Source) -> None:
    for number in range(12):
        source.event(f"e{number}", f"2025-03-12T10:{number:02}:00Z")
    source.run(NOON)
    del source.events[:6]
    for row in source.events[:4]:
        row["task_type"] = "podcast"
    told = "6 of 12 rows are no longer in the source and 4 that were good are now rejected"
    with pytest.raises(SourceError, match=told):
        source.run("2025-03-12-12:00")


def test_rows_that_only_a_lower_limit_rejects_do_not_stop_a_run(source: Source) -> None:
    for number in range(12):
        source.event(f"e{number}", f"2025-03-12T10:{number:02}:00Z", time_spent_minutes=60)
    source.run(NOON)
    source.set(max_task_minutes=30)
    source.run("2025-03-12-12:00")
    assert source.taken_in() == []


def test_a_row_that_a_lower_limit_rejects_leaves_the_lake_and_is_not_missed(source: Source) -> None:
    source.set(max_task_minutes=2000)
    source.event("long", "2025-03-12T10:10:00Z", time_spent_minutes=2000)
    source.event("ok", "2025-03-12T10:20:00Z", time_spent_minutes=60)
    source.run(NOON)
    assert source.taken_in() == ["long", "ok"]
    hour = Hour.from_key(NOON)
    list(materialize_user_ghost_stats(source.resources, [hour]))
    source.set(max_task_minutes=1440)
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["ok"]
    assert [reason for _, _, reason in source.rejected()] == ["time_spent_minutes is above 1440"]
    assert hour.start in stale_hours(source.lake)["hour"].to_list()
    list(materialize_user_ghost_stats(source.resources, [hour]))
    assert source.lake.scan(USER_GHOST_STATS, [hour]).collect()["practice_minutes"].to_list() == [60]


def test_a_corrected_row_leaves_the_rejected_ones(source: Source) -> None:
    source.event("bad", "2025-03-12T09:10:00Z", task_type="podcast")
    source.run(NOON)
    source.events[0]["task_type"] = "reading"
    source.run("2025-03-12-12:00")
    assert source.rejected() == []
    assert source.taken_in() == ["bad"]


def test_a_rejected_row_is_kept_once_however_often_it_is_read(source: Source) -> None:
    source.event("bad", "2025-03-12T09:10:00Z", task_type="podcast")
    source.run(NOON)
    source.run("2025-03-12-12:00")
    source.run("2025-03-12-13:00")
    assert len(source.rejected()) == 1


def test_an_event_of_a_user_who_comes_later_is_taken_in_then(source: Source) -> None:
    source.event("early", "2025-03-12T09:10:00Z", user_id="u2")
    source.run(NOON)
    assert source.taken_in() == []
    source.users.append({"user_id": "u2", "created_at": "2025-03-12T09:00:00Z"})
    source.run("2025-03-12-12:00")
    assert source.taken_in() == ["early"]
    assert source.rejected() == []


def test_running_an_hour_again_changes_no_byte(source: Source) -> None:
    source.event("one", "2025-03-12T09:10:00Z")
    source.event("bad", "2025-03-12T09:10:00Z", task_type="podcast")
    source.run(NOON)
    before = lake_digest(source.resources.settings.local)
    source.run(NOON)
    assert lake_digest(source.resources.settings.local) == before


def test_the_order_of_the_source_changes_no_byte(tmp_path: Path) -> None:
    digests = []
    for name, forward in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        source = Source(tmp_path / name)
        for number in range(40):
            source.event(f"e{number % 30}", f"2025-03-12T{number % 12:02}:00:00Z", time_spent_minutes=number)
        source.event("bad", "2025-03-12T09:10:00Z", task_type="podcast")
        source.events = source.events if forward else source.events[::-1]
        source.run(NOON)
        digests.append(lake_digest(tmp_path / name / "data"))
    assert digests[0] == digests[1]


def test_an_hour_sees_the_users_as_they_were_then(source: Source) -> None:
    source.users[0]["cohort_id"] = "c1"
    source.run(NOON)
    source.users[0]["cohort_id"] = "c2"
    source.run("2025-03-12-12:00")

    def cohort(hour: str) -> str:
        as_of = Hour.from_key(hour).as_of
        return str(users_at(source.lake.scan(USERS), as_of).collect()["cohort_id"].item())

    assert (cohort("2025-01-05-00:00"), cohort(NOON), cohort("2025-03-12-12:00")) == ("c1", "c1", "c2")


def test_only_changes_of_users_are_kept(source: Source) -> None:
    source.run(NOON)
    source.run("2025-03-12-12:00")
    assert source.lake.scan(USERS).select(pl.len()).collect().item() == 1


def test_a_source_without_its_events_is_an_error_that_names_the_table(source: Source) -> None:
    source.run(NOON)
    (source.folder / "user_progress.ndjson").unlink()
    asset = next(asset for asset in RAW_ASSETS if asset.contract is USER_PROGRESS)
    with pytest.raises(SourceError, match="table user_progress is missing"):
        compute_one(asset.compute, source.resources, Hour.from_key(NOON))


def test_a_domain_that_is_gone_from_the_source_is_an_error_and_keeps_its_rows(source: Source) -> None:
    source.event("one", "2025-03-12T11:00:00Z")
    source.run(NOON)
    for name in ("cohorts", "user_progress"):
        (source.folder / f"{name}.ndjson").unlink()
    for name in ("keyboards", "practice_sessions"):
        (source.folder / f"{name}.ndjson").write_text("", encoding="utf-8")
    asset = next(asset for asset in RAW_ASSETS if asset.contract is USER_PROGRESS)
    with pytest.raises(SourceError, match="the lake has rows of it"):
        compute_one(asset.compute, source.resources, Hour.from_key("2025-03-12-12:00"))
    assert source.taken_in() == ["one"]


@pytest.mark.parametrize(
    ("file", "expected"), [("source/users.parquet", SourceError), ("lake/users/shard-0.parquet", FileNotFoundError)]
)
def test_a_file_of_the_source_that_vanishes_is_told_and_one_of_the_lake_is_looked_for_again(
    tmp_path: Path, file: str, expected: type[Exception]
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    pl.DataFrame({"user_id": ["u1"]}).write_parquet(tmp_path / file)
    scanned = pl.scan_parquet(tmp_path / file)
    (tmp_path / file).unlink()
    source = FileSource(tmp_path)
    with pytest.raises(expected), reading(source, SOURCE_TABLES["users"], Lake(tmp_path / "lake")):
        scanned.collect()
