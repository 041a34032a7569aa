"""People who were erased and a source that still has them: nothing of theirs is taken in, set aside or computed."""

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.contracts.raw import REJECTED_ROWS, SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.partitions import Partitions
from ghost_pipeline.defs.publishing import published_database
from ghost_pipeline.defs.resources import RunContext, build_resources
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.errors import LakeError, SettingsError
from ghost_pipeline.lake import locking
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import exclusive_lock
from ghost_pipeline.privacy.erasing import erase_from_lake, erased_ids_in, personal_ids_in
from ghost_pipeline.privacy.tombstones import Tombstones, record_tombstones, tombstones
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.traces import traces

KEY = "a key of thirty-two characters or more"
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
FIRST = NOON - 4 * HOUR
PERSON, OTHER = "usr-5b1e77aa", "usr-other"

Row = dict[str, object]
Tables = dict[str, list[Row]]


class World:
    """A source that a test changes between runs, and the lake that it is taken into."""

    def __init__(self, folder: Path, tables: Tables, **settings: object) -> None:
        self.folder, self.tables = folder / "source", tables
        self.folder.mkdir(parents=True)
        # So that every run reads all of it again.
        known = {"erasure_key": KEY, "lookback_hours": 1000, **settings}
        self.settings = Settings.load(source=str(self.folder), data=folder / "data", **known)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def run(self, *hours: Hour, but: tuple[str, ...] = ()) -> dict[str, TableResult]:
        """Run every hourly step of the domains that there are for some hours, one after the other."""
        for name, rows in self.tables.items():
            columns = dict.fromkeys(column.name for column in SOURCE_TABLES[name].columns)
            text = "".join(json.dumps({**columns, **row}) + "\n" for row in rows)
            (self.folder / f"{name}.ndjson").write_text(text, encoding="utf-8")
        domains = {Domain.GHOST if "user_progress" in self.tables else Domain.NGRAMS}
        wanted = [step for step in TABLE_ASSETS if step.contract.name in selection(domains, monthly=False)]
        outcomes = {}
        for hour in hours:
            for step in wanted:
                if step.contract.name not in but:
                    resources = RunContext.of(self.settings, self.lake)
                    outcomes[step.contract.name] = compute_one(step.compute, resources, hour)
                    resources.source.close()
        return outcomes

    def erase(self, *users: str) -> None:
        erase_from_lake(self.lake, personal_ids_in(self.lake, users), KEY.encode(), NOON)

    def rejected(self) -> list[str]:
        return self.lake.scan(REJECTED_ROWS).select("reason").collect().to_series().to_list()

    def without(self, user: str) -> Tables:
        """The source as it were if it had never had somebody."""
        theirs = {row["session_id"] for row in self.tables.get("practice_sessions", []) if row["user_id"] == user}
        return {
            name: [row for row in rows if row.get("user_id") != user and row.get("session_id") not in theirs]
            for name, rows in self.tables.items()
        }


def hour(number: int) -> Hour:
    return Hour(FIRST + number * HOUR)


def shown(instant: datetime) -> str:
    return instant.isoformat()


def learner(user: str, **values: object) -> Row:
    return {"user_id": user, "cohort_id": "c1", "created_at": "2025-02-01", **values}


def task(name: str, user: str | None, at: datetime, **values: object) -> Row:
    row = {"progress_id": name, "user_id": user, "task_type": "reading", "completed_at": shown(at)}
    return {**row, "time_spent_minutes": 7, **values}


def learners() -> Tables:
    return {
        "users": [learner(PERSON), learner(OTHER)],
        "cohorts": [{"cohort_id": "c1"}],
        "user_progress": [task("prg-5b1e77aa-1", PERSON, FIRST), task("prg-other-1", OTHER, FIRST)],
    }


def typing(name: str, user: str, at: datetime) -> Row:
    row: Row = {"session_id": name, "user_id": user, "keyboard_id": f"kbd-{user}", "start_time": shown(at)}
    return {**row, "end_time": shown(at + timedelta(minutes=5))}


def typed(session: str, text: str = "then") -> list[Row]:
    return [
        {"session_id": session, "key_index": index, "keystroke_time": shown(FIRST + index * timedelta(seconds=1))}
        | {"keystroke_char": char, "expected_char": char, "text_index": index}
        for index, char in enumerate(text)
    ]


def typists() -> Tables:
    return {
        "users": [learner(PERSON), learner(OTHER)],
        "keyboards": [{"keyboard_id": f"kbd-{user}", "user_id": user} for user in (PERSON, OTHER)],
        "practice_sessions": [typing("ses-5b1e77aa-1", PERSON, FIRST), typing("ses-other-1", OTHER, FIRST)],
        "session_keystrokes": [*typed("ses-5b1e77aa-1"), *typed("ses-other-1")],
    }


def counted(outcomes: Mapping[str, TableResult], table: str) -> object:
    return outcomes[table].metadata["rows_of_erased_people"]


def test_a_learner_who_was_erased_is_not_taken_in_again(tmp_path: Path) -> None:
    world = World(tmp_path, learners())
    world.run(hour(0))
    world.erase(PERSON)
    world.tables["user_progress"] += [
        task("prg-5b1e77aa-2", PERSON, FIRST + HOUR),
        task("prg-5b1e77aa-3", PERSON, FIRST + HOUR, task_type="podcast"),
        # The source has forgotten whose it was.
        task("prg-5b1e77aa-1", None, FIRST),
    ]
    world.tables["users"][0] = learner(PERSON, target_band=99)
    outcomes = world.run(hour(1))
    assert traces(tmp_path / "data", ["5b1e77aa"]) == set()
    assert world.rejected() == []
    assert (counted(outcomes, "users"), counted(outcomes, "user_progress")) == (1, 4)
    assert (outcomes["users"].metadata["rows_read_in_window"], outcomes["users"].findings["rejected_rows"]) == (1, 0)


def test_a_good_row_of_somebody_erased_counts_as_theirs(tmp_path: Path) -> None:
    world = World(tmp_path, learners())
    world.run(hour(0))
    world.erase(PERSON)
    outcomes = world.run(hour(1))
    assert counted(outcomes, "users") == 1
    assert outcomes["users"].metadata["rows_read_in_window"] == 1


def test_a_lake_that_is_filled_anew_keeps_them_out(tmp_path: Path) -> None:
    world = World(tmp_path, {**typists(), "user_progress": [], "cohorts": []})
    world.erase(PERSON)
    del world.tables["user_progress"], world.tables["cohorts"]
    outcomes = world.run(hour(1))
    found = traces(tmp_path / "data", ["5b1e77aa"])
    assert found == set()
    assert world.rejected() == []
    assert {name: counted(outcomes, name) for name in world.tables} == {
        "users": 1, "keyboards": 1, "practice_sessions": 1, "session_keystrokes": 4,
    }  # fmt: skip


def test_what_a_typist_left_without_a_session_is_not_kept_as_rejected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path, typists())
    world.run(hour(0))
    world.erase(PERSON)
    world.tables["users"] = world.tables["users"][1:]
    world.tables["practice_sessions"] = world.tables["practice_sessions"][1:]
    world.tables["session_keystrokes"] += typed("ses-of-nobody", "a")
    outcomes = world.run(hour(1))
    assert counted(outcomes, "session_keystrokes") == 4
    assert traces(tmp_path / "data", ["5b1e77aa"]) == set()
    # polars tells what is deprecated in a plan on stderr, whatever becomes of warnings.
    assert "Deprecat" not in capfd.readouterr().err
    # Whoever else's it may be is a matter to look at, as ever.
    assert world.rejected() == ["session_id names no practice session"]


def test_n_grams_of_the_applications_own_are_kept_out_too(tmp_path: Path) -> None:
    world = World(tmp_path, typists())
    world.tables["session_ngram_speed"] = [
        {"session_id": name, "ngram_text": "th", "ngram_size": 2, "ms_per_keystroke": 90.0}
        for name in ("ses-5b1e77aa-1", "ses-other-1")
    ]
    world.run(hour(0))
    world.erase(PERSON)
    outcomes = world.run(hour(1))
    assert counted(outcomes, "session_ngram_speed") == 1
    assert traces(tmp_path / "data", ["5b1e77aa"]) == set()


@pytest.mark.parametrize("tables", [learners, typists])
def test_no_source_is_read_without_the_key(tables: "type[Tables]", tmp_path: Path) -> None:
    world = World(tmp_path, tables())
    world.run(hour(0))
    world.erase(PERSON)
    world.settings = world.settings.model_copy(update={"erasure_key": None})
    resources = RunContext.of(world.settings, world.lake)
    for name in world.tables:
        step = next(one for one in TABLE_ASSETS if one.contract.name == name)
        with pytest.raises(SettingsError, match="without their key a source would bring them back"):
            compute_one(step.compute, resources, hour(1))


def test_no_source_is_read_while_somebody_is_half_erased(tmp_path: Path) -> None:
    world = World(tmp_path, learners())
    world.run(hour(0))
    record_tombstones(world.lake, KEY.encode(), personal_ids_in(world.lake, [PERSON]), NOON)
    with pytest.raises(LakeError, match="an erasure was interrupted"):
        world.run(hour(1))
    counts = next(one for one in TABLE_ASSETS if one.contract is ERASED_PEOPLE)
    outcome = compute_one(counts.compute, RunContext.of(world.settings, world.lake), hour(1))
    assert outcome.findings == {"ids_whose_erasure_was_interrupted": 2}


def test_whoever_a_backup_brings_back_stops_every_run_until_erased_again(tmp_path: Path) -> None:
    world = World(tmp_path, learners())
    world.run(hour(0))
    users = world.lake.root / "users"
    shutil.copytree(users, tmp_path / "backup")
    world.erase(PERSON)
    world.run(hour(1))
    shutil.copytree(tmp_path / "backup", users, dirs_exist_ok=True)
    with pytest.raises(
        LakeError, match=r"users: has 1 people who were erased.*`ghost-pipeline erase --again`"
    ) as raised:
        world.run(hour(2))
    assert "5b1e77aa" not in str(raised.value)
    erase_from_lake(world.lake, erased_ids_in(world.lake, KEY.encode()), KEY.encode(), NOON, everybody=True)
    world.run(hour(2))
    assert traces(tmp_path / "data", ["5b1e77aa"]) == set()


def test_users_who_were_looked_at_once_are_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, learners())
    world.run(hour(0))
    world.erase(PERSON)
    world.run(hour(1))
    looked: list[str] = []
    among = Tombstones.among

    def listening(self: Tombstones, column: str, ids: pl.Series) -> pl.Series:
        looked.extend(ids.drop_nulls())
        return among(self, column, ids)

    monkeypatch.setattr(Tombstones, "among", listening)
    tombstones(world.lake, world.settings)
    assert looked == []
    world.tables["users"].append(learner("usr-new"))
    world.run(hour(2))
    # Nor is the hour of their event read again: nothing in it has changed.
    assert set(looked) == {PERSON, "usr-new"}


def rows_of(lake: Lake) -> dict[str, pl.DataFrame]:
    """Every row of every table but the tombstones and what an erasure leaves; an hour without rows is as none."""
    skipped_by_retention = {ERASED_PEOPLE.name, COHORT_GHOST_RELEASE.name, COHORT_RELEASE_CONTRIBUTIONS.name}
    found = {
        name: lake.scan(contract).collect() for name, contract in CONTRACTS.items() if name not in skipped_by_retention
    }
    return {name: frame.sort(frame.columns, nulls_last=True) for name, frame in found.items()}


def equal(world: World, never: World, built: list[Hour]) -> None:
    """Compare a world that has forgotten somebody, built again, with one that never had them."""
    world.run(*built)
    never.run(*built)
    found, expected = rows_of(world.lake), rows_of(never.lake)
    for name, frame in expected.items():
        assert found[name].equals(frame), name
    assert expected["users"].height


@examples(2, 6)
@given(data=st.data())
def test_erased_and_built_again_is_as_if_they_had_never_been_there(data: st.DataObject) -> None:
    users = [PERSON, "u1", "u2", "u3"]
    zones = st.sampled_from([None, "Asia/Kolkata", "Mars/Olympus"])
    moments = st.integers(-40, 3).map(lambda number: FIRST + number * HOUR + timedelta(minutes=17))
    kinds = st.sampled_from(["reading", "speaking", "mock_test", "podcast"])
    events = data.draw(st.lists(st.tuples(st.sampled_from(users), moments, kinds), max_size=14))
    tables: Tables = {
        "users": [learner(one, timezone=data.draw(zones), cohort_id=f"c{at % 2}") for at, one in enumerate(users)],
        "cohorts": [{"cohort_id": "c0"}, {"cohort_id": "c1"}],
        # One event of somebody who stays comes first: where a lake begins is what it keeps of whoever is gone.
        "user_progress": [task("first", "u1", FIRST - 41 * HOUR)]
        + [task(f"p{number}", user, at, task_type=kind) for number, (user, at, kind) in enumerate(events)],
    }
    built = [hour(1), hour(2)]
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "had", tables)
        world.run(*built)
        world.erase(PERSON)
        never = World(Path(folder) / "never", world.without(PERSON))
        equal(world, never, built)


def test_a_typist_erased_and_built_again_is_as_if_they_had_never_been_there(tmp_path: Path) -> None:
    tables = typists()
    for user in (PERSON, OTHER):
        for number in (1, 2):
            session = f"ses-{user}-{number}"
            tables["practice_sessions"].append(typing(session, user, FIRST + number * HOUR))
            tables["session_keystrokes"] += typed(session, "the then")
    world = World(tmp_path / "had", tables)
    built = [hour(number) for number in range(3)]
    world.run(*built)
    world.erase(PERSON)
    equal(world, World(tmp_path / "never", world.without(PERSON)), built)


def test_a_step_keeps_an_erasure_waiting_and_so_does_the_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load(data=tmp_path)
    resources = RunContext.of(settings)
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.2)
    refused: list[str] = []

    def erase() -> None:
        try:
            with exclusive_lock(resources.lake.root):
                pass
        except LakeError as error:
            refused.append(str(error))

    def at_work(*_: object, **__: object) -> list[object]:
        thread = threading.Thread(target=erase)
        thread.start()
        thread.join()
        return []

    def compute(_: RunContext, __: Sequence[Hour]) -> Iterator[TableResult]:
        at_work()
        yield TableResult(rows=0)

    monkeypatch.setattr("ghost_pipeline.defs.publishing.publish", at_work)
    asset = TableAsset(ERASED_PEOPLE, (), compute).asset(Partitions.from_settings(settings), 24)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [asset, published_database([ERASED_PEOPLE.name])],
            resources=build_resources(settings),
            partition_key="2025-03-12-11:00",
            instance=instance,
        )
    assert done.success
    assert len(refused) == 2
    assert all("other runs have been using the lake" in one for one in refused)
