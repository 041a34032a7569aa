"""Erasing from the lake: every table, nothing else, and on again where it was interrupted."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.raw import REJECTED_ROWS, SESSION_KEYSTROKES, USER_PROGRESS, USERS
from ghost_pipeline.lake.atomic import STAGING
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.privacy.erasing import erase_from_lake, erased_ids_in, personal_ids_in, unknown_users
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, owner_column
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.running import lake_digest
from ghost_pipeline_tests.samples import HOUR as NOON
from ghost_pipeline_tests.samples import partition_of, sample
from ghost_pipeline_tests.traces import traces

KEY = b"a key of thirty-two characters or more"
AT = datetime(2025, 3, 13, tzinfo=UTC)
NAMES = {
    "user_id": "usr-5b1e77aa", "session_id": "ses-5b1e77aa", "keyboard_id": "kbd-5b1e77aa",
    "progress_id": "prg-5b1e77aa",
}  # fmt: skip
PERSON = NAMES["user_id"]
ROWS = 6


def rows(contract: Contract) -> pl.DataFrame:
    """Random rows, two of which are the person's where rows belong to people."""
    if contract is REJECTED_ROWS:
        told = [{"user_id": PERSON}, {"user_id": "u", "note": f"{NAMES['session_id']}?"}, {"user_id": "u"}, {}]
        return pl.DataFrame(
            {"source_table": "users", "hour": NOON.start, "reason": "bad", "row": [json.dumps(one) for one in told]},
            schema=contract.polars_schema,
        )
    seed = next(seed for seed in range(99) if _fits(sample(contract, ROWS, seed), contract))
    return _with_person(sample(contract, ROWS, seed), contract)


def _with_person(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    theirs = pl.int_range(pl.len()) < 2
    named = [
        pl.when(theirs).then(pl.lit(NAMES[name])).otherwise(name).alias(name) for name in ID_COLUMNS if name in frame
    ]
    frame = frame.with_columns(named)
    key = [name for name in contract.primary_key if name in NAMES]
    # Where the ids alone are the key there is one such row.
    return frame.unique(contract.primary_key, keep="first", maintain_order=True) if key else frame


TABLES = 20
"""Tables that can have rows of a person."""


def _fits(frame: pl.DataFrame, contract: Contract) -> bool:
    return contract.faults(_with_person(frame, contract)) == []


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A filled lake, for tests that only read it."""
    return filled(tmp_path_factory.mktemp("before") / "lake")


@pytest.fixture(scope="module")
def after(before: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same lake after the erasure, for tests that only read it."""
    lake = _copied(before, tmp_path_factory.mktemp("after"))
    erase(lake)
    return lake


@pytest.fixture
def lake(before: Lake, tmp_path: Path) -> Lake:
    return _copied(before, tmp_path)


def _copied(lake: Lake, folder: Path) -> Lake:
    shutil.copytree(lake.root, folder / "lake")
    return Lake(folder / "lake")


def filled(root: Path) -> Lake:
    """A lake with rows of the person in every table that can have any."""
    lake = Lake(root)
    for contract in CONTRACTS.values():
        if contract is not ERASED_PEOPLE:
            partition = Rejects("users", NOON) if contract is REJECTED_ROWS else partition_of(contract)
            lake.write(contract, partition, rows(contract))
    return lake


def erase(lake: Lake) -> dict[str, int]:
    changed, _ = erase_from_lake(lake, personal_ids_in(lake, [PERSON]), KEY, AT)
    return {one.table: one.rows for one in changed}


def personal() -> list[Contract]:
    return [one for one in CONTRACTS.values() if owner_column(one) or one.partitioning is Partitioning.REJECTED]


def test_every_table_that_can_have_the_person_has(lake: Lake) -> None:
    found = {name.split("/")[0] for name in traces(lake.root, NAMES.values())}
    assert found == {contract.name for contract in personal()}
    assert len(found) == TABLES


def test_no_table_has_them_afterwards(lake: Lake) -> None:
    assert erase(lake).keys() >= {contract.name for contract in personal()}
    assert traces(lake.root, NAMES.values()) == set()


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_others_rows_stay_in_their_order(contract: Contract, before: Lake, after: Lake) -> None:
    if contract is ERASED_PEOPLE:
        return
    there, left = (lake.scan(contract).collect() for lake in (before, after))
    assert contract.faults(left) == []
    if contract.pseudonymised:
        assert left.height == there.height
    elif contract is REJECTED_ROWS:
        assert left.equals(there[2:])
    elif owner := owner_column(contract):
        assert left.equals(there.filter(pl.col(owner) != NAMES[owner]))
        assert 0 < left.height < there.height
    elif contract is not COHORT_GHOST_DATA:
        assert left.equals(there)


def test_the_ledger_of_what_peers_have_seen_is_never_touched(lake: Lake) -> None:
    version = lake.file_version(COHORT_GHOST_RELEASE, NOON)
    erase(lake)
    assert lake.file_version(COHORT_GHOST_RELEASE, NOON) == version


def test_files_without_the_person_are_left_alone(lake: Lake) -> None:
    hours = [Hour(NOON.start + number * HOUR) for number in range(1, 4)]
    for hour in hours:
        lake.write(USER_PROGRESS, hour, sample(USER_PROGRESS, 3, hour.hour))
    versions = [lake.file_version(USER_PROGRESS, hour) for hour in hours]
    erase(lake)
    assert [lake.file_version(USER_PROGRESS, hour) for hour in hours] == versions


def test_an_hour_without_anybody_left_is_an_empty_hour(lake: Lake) -> None:
    hour = NOON.next()
    only = rows(USER_PROGRESS).filter(pl.col("user_id") == PERSON)
    lake.write(USER_PROGRESS, hour, only)
    erase(lake)
    assert lake.exists(USER_PROGRESS, hour)
    assert lake.rows(USER_PROGRESS, hour) == 0


def test_the_figures_of_a_cohort_of_one_go_with_them(lake: Lake) -> None:
    cohort = "c-alone"
    users = lake.scan(USERS, [NOON]).collect()
    lake.write(USERS, NOON, users.with_columns(cohort_id=pl.lit(cohort)))
    figures = sample(COHORT_GHOST_DATA, 3, 1).with_columns(
        cohort_id=pl.Series([cohort, cohort, "c-other"]),
        snapshot_hour=pl.Series([1, 2, 3], dtype=pl.Int32),
        member_count=pl.lit(5, pl.Int32),
        active_member_count=pl.Series([1, 2, 1], dtype=pl.Int32),
    )
    lake.write(COHORT_GHOST_DATA, NOON, figures)
    assert erase(lake)["cohort_ghost_data"] == 1
    assert lake.scan(COHORT_GHOST_DATA).collect().equals(figures[1:])


def test_caches_and_what_was_staged_go(lake: Lake) -> None:
    kept = pl.DataFrame({"user_id": [PERSON]})
    Cache(lake.root, "ngram_speed_summaries").write({"sessions/2025-03": kept})
    staged = lake.root / STAGING / "elsewhere@1-0.parquet.tmp"
    staged.write_text(PERSON, encoding="utf-8")
    erase(lake)
    assert not staged.exists()
    assert Cache(lake.root, "ngram_speed_summaries").read("sessions/2025-03", kept.schema).is_empty()


@pytest.mark.parametrize("tables", range(0, TABLES + 1, 2))
def test_one_that_is_interrupted_goes_on(tables: int, lake: Lake, after: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite = Lake.rewrite
    done: list[Contract] = []

    def dies(self: Lake, contract: Contract, *rest: object) -> None:
        if len(done) == tables:
            raise KeyboardInterrupt
        done.append(contract)
        rewrite(self, contract, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "rewrite", dies)
        if tables < TABLES:
            with pytest.raises(KeyboardInterrupt):
                erase(lake)
            assert lake.scan(ERASED_PEOPLE).filter(pl.col("under_way").is_not_null()).collect().height
            # By now nothing may tell any more that the lake has ever known them.
            assert unknown_users(lake, [PERSON], KEY) == []
    erase(lake)
    assert traces(lake.root, NAMES.values()) == set()
    assert lake.scan(ERASED_PEOPLE).filter(pl.col("under_way").is_not_null()).collect().is_empty()
    drawn = tuple(f"{contract.name}/" for contract in CONTRACTS.values() if contract.pseudonymised)
    found, expected = (
        {name: one for name, one in lake_digest(root.parent).items() if not name.startswith(drawn)}
        for root in (lake.root, after.root)
    )
    assert found == expected


def test_a_session_whose_keystrokes_alone_are_there_goes_by_its_tombstone(lake: Lake) -> None:
    """An interruption after everything: what is left to be told by is the id of the user."""
    erase(lake)
    assert erase(lake) == {}
    assert lake.rows(SESSION_KEYSTROKES, NOON) > 0


def test_what_a_backup_brings_back_goes_without_the_ids(lake: Lake, tmp_path: Path) -> None:
    erase(lake)
    filled(tmp_path / "backup")
    shutil.copytree(tmp_path / "backup", lake.root, dirs_exist_ok=True)
    erase_from_lake(lake, erased_ids_in(lake, KEY), KEY, AT, everybody=True)
    assert traces(lake.root, NAMES.values()) == set()


def test_keystrokes_alone_that_a_backup_brings_back_go_by_their_session(lake: Lake) -> None:
    before = lake.scan(SESSION_KEYSTROKES).collect()
    erase(lake)
    after = lake.scan(SESSION_KEYSTROKES).collect()
    lake.write(SESSION_KEYSTROKES, NOON, before)
    changed, _ = erase_from_lake(lake, erased_ids_in(lake, KEY), KEY, AT, everybody=True)
    assert [one.table for one in changed] == ["session_keystrokes"]
    assert lake.scan(SESSION_KEYSTROKES).collect().equals(after)


def test_erasing_again_that_is_interrupted_is_under_way(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(lake)
    filled(tmp_path / "backup")
    shutil.copytree(tmp_path / "backup", lake.root, dirs_exist_ok=True)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ghost_pipeline.privacy.erasing.clear_cache", dies)
        with pytest.raises(KeyboardInterrupt):
            erase_from_lake(lake, erased_ids_in(lake, KEY), KEY, AT, everybody=True)
    under_way = lake.scan(ERASED_PEOPLE).filter(pl.col("under_way").is_not_null())
    assert under_way.collect().height
    # By now nothing tells any more who it was.
    assert erased_ids_in(lake, KEY).is_empty()
    erase_from_lake(lake, erased_ids_in(lake, KEY), KEY, AT, everybody=True)
    assert lake.scan(ERASED_PEOPLE).filter(pl.col("under_way").is_not_null()).collect().is_empty()


def test_who_was_never_there_is_unknown(lake: Lake) -> None:
    assert unknown_users(lake, [PERSON, "usr-unheard-of"], KEY) == ["usr-unheard-of"]
    erase(lake)
    assert unknown_users(lake, [PERSON], KEY) == []


def test_who_was_only_ever_rejected_is_known(lake: Lake) -> None:
    row = json.dumps({"user_id": "7", "created_at": "never"})
    frame = lake.scan(REJECTED_ROWS).collect().head(1).with_columns(row=pl.lit(row), hour=None)
    lake.write(REJECTED_ROWS, Rejects("users", None), frame.cast(REJECTED_ROWS.polars_schema))  # type: ignore[arg-type]
    assert unknown_users(lake, ["7", "8"], KEY) == ["8"]
