"""People who change their cohort together isolate no one: neither who stays behind nor who practises meanwhile.

A reader sees the releases of every cohort. A cohort that is split or renamed has the sum that it had before, apart from
what one member did in between; the sum of a cohort that all but one have left differs by that member.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ghost_pipeline.defs import release
from ghost_pipeline.windows import DAY, HOUR
from ghost_pipeline_tests.running import run

FIRST = datetime(2025, 3, 12, 8, tzinfo=UTC)
MOVES_AT = FIRST + 3 * HOUR
LAST = MOVES_AT + 3 * HOUR
TASKS = 7
"""What one member of some cohorts does in the hour before the move."""
SIZES = {"renamed": 15, "split": 30, "left": 20, "from": 16, "to": 16}
STAYS, BUSY = 3, 2
PRACTISING = ("renamed", "split")
VARIABLES = {"GHOST_EXPORT_MESSAGES": "false", "GHOST_HOURS_PER_RUN": "744"}


def cohort_of(cohort: str, member: int, *, moved: bool) -> str:
    if not moved:
        return cohort
    match cohort:
        case "renamed":
            return "renamed-new"
        case "split":
            return f"split-{member % 2}"
        case "left" if member != STAYS:
            return "left-new"
        case "from" if 4 <= member < 9:
            return "to"
        case _:
            return cohort


def write(source: Path, *, moved: bool) -> None:
    """Write the users as they are before or after the move, and what they practise in nine days."""
    source.mkdir(parents=True, exist_ok=True)
    members = [(cohort, member) for cohort, size in SIZES.items() for member in range(size)]
    users = pl.DataFrame(
        {
            "user_id": [f"{cohort}{member:02}" for cohort, member in members],
            "cohort_id": [cohort_of(cohort, member, moved=moved) for cohort, member in members],
            "created_at": [FIRST - 20 * DAY] * len(members),
        }
    )
    users = users.with_columns(
        updated_at=pl.when(pl.col("cohort_id") == pl.col("user_id").str.head(-2))
        .then("created_at")
        .otherwise(pl.lit(MOVES_AT))
    )
    users.write_parquet(source / "users.parquet")
    users.select("cohort_id").unique().sort("cohort_id").write_parquet(source / "cohorts.parquet")
    chance = np.random.default_rng(20250312)
    done = [
        (f"{cohort}{member:02}", FIRST - day * DAY + timedelta(minutes=int(chance.integers(-300, 300))))
        for cohort, member in members
        for day in range(1, 10)
        if chance.random() < 0.6
        for _ in range(int(chance.integers(1, 6)))
    ]
    done += [(f"{cohort}{BUSY:02}", MOVES_AT - timedelta(minutes=30)) for cohort in PRACTISING for _ in range(TASKS)]
    events = pl.DataFrame(done, schema={"user_id": pl.String(), "completed_at": pl.Datetime("us", "UTC")}, orient="row")
    events.with_columns(
        pl.format("e{}", pl.int_range(pl.len())).alias("progress_id"),
        task_type=pl.lit("reading"),
        time_spent_minutes=pl.lit(5.0),
    ).write_parquet(source / "user_progress.parquet")


def play(folder: Path) -> pl.DataFrame:
    """Build the hours before and after the move; returns cohort, hour and sum of tasks of every new release."""
    data, source = folder / "data", folder / "source"
    for begin, until, moved in ((FIRST, MOVES_AT, False), (MOVES_AT, LAST, True)):
        write(source, moved=moved)
        window = ["--from", f"{begin:%Y-%m-%dT%H:%MZ}", "--to", f"{until:%Y-%m-%dT%H:%MZ}"]
        done = run(["backfill", *window], data, source, **VARIABLES)
        assert done.returncode == 0, done.stderr
    ledger = pl.read_parquet(data / "lake" / "cohort_ghost_release", hive_partitioning=False)
    return ledger.filter(pl.col("released_as_of") == pl.col("as_of")).select(
        "cohort_id",
        "as_of",
        people="active_member_count",
        tasks=(pl.col("avg_tasks_completed").cast(pl.Float64) * pl.col("active_member_count")).round(0),
    )


def newest(releases: pl.DataFrame, cohort: str, until: datetime) -> float | None:
    """The sum of tasks of the newest release of a cohort up to an instant."""
    found = releases.filter((pl.col("cohort_id") == cohort) & (pl.col("as_of") <= until)).sort("as_of")["tasks"]
    return float(found[-1]) if found.len() else None


def isolated(releases: pl.DataFrame) -> dict[str, float]:
    """What is left of the sums after the move minus those before it, where all of them are shown."""
    before = {cohort: newest(releases, cohort, MOVES_AT - HOUR) for cohort in SIZES}
    assert all(before.values())
    sums = {
        "renamed": (["renamed-new"], ["renamed"]),
        "split": (["split-0", "split-1"], ["split"]),
        "left": (["left-new"], ["left"]),
    }
    found = {}
    for name, (after, of) in sums.items():
        plus = [newest(releases, cohort, LAST) for cohort in after]
        if all(one is not None for one in plus):
            found[name] = sum(one for one in plus if one is not None) - sum(before[one] or 0 for one in of)
    return found


@pytest.mark.long
def test_who_moves_is_in_no_release_and_isolates_no_one(tmp_path: Path) -> None:
    assert isolated(play(tmp_path)) == {}
    contributions = pl.read_parquet(
        tmp_path / "data" / "lake" / "cohort_release_contributions", hive_partitioning=False
    ).filter(pl.col("as_of") > MOVES_AT)
    moved = {
        f"{cohort}{member:02}"
        for cohort, size in SIZES.items()
        for member in range(size)
        if cohort_of(cohort, member, moved=True) != cohort
    }
    assert contributions.height
    assert moved.isdisjoint(contributions["user_id"])


@pytest.mark.long
def test_without_the_rule_each_sum_is_what_one_person_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "moved_users", lambda versions, *_: versions.select("user_id").head(0))
    found = isolated(play(tmp_path))
    events = pl.read_parquet(tmp_path / "source" / "user_progress.parquet")
    stayed = events.filter(pl.col("user_id") == f"left{STAYS:02}").height
    assert found == {"renamed": TASKS, "split": TASKS, "left": -stayed}


def test_a_cohort_that_all_have_left_stops_nobody(tmp_path: Path) -> None:
    """Its release stays; those who moved are ranked once."""
    play(tmp_path)
    ranks = pl.read_parquet(tmp_path / "data" / "lake" / "user_released_ranks", hive_partitioning=False)
    newest_hour = ranks.filter(pl.col("as_of") == LAST)
    assert newest_hour["user_id"].is_unique().all()
    assert newest_hour.height == sum(SIZES.values())
