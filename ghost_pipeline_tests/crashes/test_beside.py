"""Runs at once on one lake, readers beside them: partitions are those of runs one by one, and no version is double."""

import re
import shutil
from pathlib import Path

import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_RELEASE,
    COHORT_RELEASE_CONTRIBUTIONS,
    GHOST_MESSAGES,
    USER_GHOST_STATS,
    USER_RELEASED_RANKS,
)
from ghost_pipeline.contracts.raw import COHORTS, KEYBOARDS, USERS
from ghost_pipeline.contracts.staleness import STALE_HOURS
from ghost_pipeline.defs.release import materialize_cohort_ghost_release
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import LAYOUT_FILE
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.crashes.processes import begun, copied, goes_on, read_meanwhile, run, run_together
from ghost_pipeline_tests.crashes.world import World

pytestmark = pytest.mark.long

HOURS = [("materialize", "--as-of", f"2025-03-12T{hour}:00Z") for hour in (11, 12, 13, 13)]
BACKFILL = ("backfill", "--from", "2025-03-12T05:00Z", "--to", "2025-03-12T10:00Z")
REPAIR = ("backfill", "--from", "2025-03-12T05:00Z", "--to", "2025-03-12T13:00Z")
VERSIONS = (USERS, COHORTS, KEYBOARDS)
RELEASES = (COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS, USER_RELEASED_RANKS)
BY_ORDER = {one.name for one in (*VERSIONS, *RELEASES, GHOST_MESSAGES)}
"""What depends on the order of the runs: which one saw a version first, which hour was the newest to be released."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("beside") / "begun")
    begun(found)
    goes_on(found)
    return found


def partitions(world: World) -> dict[str, str]:
    """Every partition that does not depend on the order of the runs."""
    tables = {*BY_ORDER, STALE_HOURS.name}
    return {name: digest for name, digest in world.state().items() if not tables & set(Path(name).parts)}


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """The partitions that are not the same in both."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def hour_of(partition: str) -> Hour | None:
    """The hour of a snapshot's partition; None of another one."""
    found = re.search(r"partition_date=(\S+)/partition_hour=(\d\d)/", partition)
    return Hour.from_key(f"{found[1]}-{found[2]}:00") if found else None


def values(lake: Lake, contract: Contract) -> list[tuple[object, ...]]:
    """What versions say, whoever saw them first, one after the other."""
    rows = lake.scan(contract).sort(contract.primary_key[0], "valid_from").drop("valid_from", "seen_at").collect()
    return rows.rows()


def check_ledger(world: World, before: World, folder: Path) -> None:
    """What was released before is as it was, and each entry since follows from the one before it."""
    lake = world.resources().lake
    alone = RunContext.of(Settings.load(data=folder), Lake(folder / "lake"))
    for contract in (COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS):
        shutil.copytree(before.data / "lake" / contract.name, folder / "lake" / contract.name)
    shutil.copy(before.data / "lake" / LAYOUT_FILE, folder / "lake")
    released = alone.lake.hours(COHORT_GHOST_RELEASE)
    for hour in lake.hours(COHORT_GHOST_RELEASE)[len(released) :]:
        alone.lake.write(USER_GHOST_STATS, hour, lake.scan(USER_GHOST_STATS, [hour]).collect())
        compute_one(materialize_cohort_ghost_release, alone, hour)
    for contract in (COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS):
        assert alone.lake.scan(contract).collect().equals(lake.scan(contract).collect())


def check_versions(lake: Lake) -> None:
    """Nobody has a version twice."""
    for contract in VERSIONS:
        key = contract.primary_key[0]
        rows = lake.scan(contract).sort(key, "valid_from").collect()
        assert rows.select(key, "valid_from").is_unique().all()
        said = rows.drop("valid_from", "seen_at")
        assert said.height == said.unique().height


def check_runs_at_once(world: World, folder: Path) -> None:
    """Run everything at once in a folder, and compare with the same one by one."""
    together, one_by_one = copied(world, folder / "together"), copied(world, folder / "one_by_one")
    with read_meanwhile(together) as reading:
        ended = run_together(together, *HOURS, BACKFILL)
    assert [told for code, told in ended if code] == []
    assert reading.faults == ()
    assert reading.looked > 1
    for command in (HOURS[0], REPAIR):
        run(one_by_one, *command)
    lake, expected = together.resources().lake, partitions(one_by_one)
    # What is not as it should be is put down.
    stale = {(table, Hour.containing(start)) for table, start, *_ in stale_hours(lake).rows()}
    wrong = {(Path(name).parts[1], hour_of(name)) for name in differing(partitions(together), expected)}
    assert wrong - stale == set()
    check_ledger(together, world, folder / "ledger")
    check_versions(lake)
    run(together, *REPAIR)
    assert stale_hours(lake).is_empty()
    assert differing(partitions(together), expected) == []
    for contract in VERSIONS:
        assert values(lake, contract) == values(one_by_one.resources().lake, contract)
    assert together.leftovers() == []


def test_runs_at_once_give_what_runs_one_by_one_give(world: World, tmp_path: Path) -> None:
    check_runs_at_once(world, tmp_path)
