"""The ledger of releases in the lake: what is added, and what never changes."""

import threading
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock

from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_RELEASE,
    COHORT_RELEASE_CONTRIBUTIONS,
    USER_GHOST_STATS,
    USER_RELEASED_RANKS,
)
from ghost_pipeline.defs import release as of_release
from ghost_pipeline.defs.release import RELEASE_ASSETS, materialize_cohort_ghost_release
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake import locking
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.erasing import erase_from_lake, personal_ids_in
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats
from ghost_pipeline_tests.running import lake_digest

FIRST = Hour.from_key("2025-03-12-11:00")
PEOPLE = [user(f"u{number:02}") for number in range(12)]
TASKS = [event(row["user_id"], "2025-03-11T08:00") for row in PEOPLE]
LEDGER, COUNTED, _ = RELEASE_ASSETS


@pytest.fixture
def resources(tmp_path: Path) -> RunContext:
    settings = Settings.load(data=tmp_path, release_compared_hours=24)
    return RunContext.of(settings)


def hour(number: int) -> Hour:
    """An hour by its distance to the first one."""
    return Hour(FIRST.start + number * HOUR)


def take_in(resources: RunContext, number: int, *, busy: int = 0, members: list[Row] = PEOPLE) -> None:
    """Figures of users at the end of an hour, in which some completed one more task."""
    now = hour(number)
    more = [event(row["user_id"], now.start, minutes=number) for row in members[:busy]]
    stats = user_ghost_stats(users_frame(members), progress_frame([*TASKS, *more]), now.as_of)
    resources.lake.write(USER_GHOST_STATS, now, stats.collect())


def release(resources: RunContext, number: int) -> TableResult:
    outcome = compute_one(LEDGER.compute, resources, hour(number))
    assert compute_one(COUNTED.compute, resources, hour(number)).rows == resources.lake.rows(
        COHORT_RELEASE_CONTRIBUTIONS, hour(number)
    )
    return outcome


def run(resources: RunContext, number: int, *, busy: int = 0, members: list[Row] = PEOPLE) -> TableResult:
    take_in(resources, number, busy=busy, members=members)
    return release(resources, number)


def seen(resources: RunContext, number: int) -> tuple[object, ...]:
    """What peers see of c1: whether released, why not, and how many hours after the first one it was released."""
    row = resources.lake.scan(COHORT_GHOST_RELEASE, [hour(number)]).filter(pl.col("cohort_id") == "c1").collect()
    since = None if row["released_as_of"].item() is None else (row["released_as_of"].item() - FIRST.as_of) // HOUR
    return row["released"].item(), row["suppressed_reason"].item(), since


def kept(resources: RunContext) -> list[int]:
    """The hours of which contributions are kept, by their distance to the first one."""
    return [(one.start - FIRST.start) // HOUR for one in resources.lake.hours(COHORT_RELEASE_CONTRIBUTIONS)]


def test_every_hour_says_what_peers_see_from_its_end_on(resources: RunContext) -> None:
    outcomes = [run(resources, number, busy=busy) for number, busy in enumerate([0, 3, 4])]
    assert [seen(resources, number) for number in range(3)] == [(True, None, 0), (True, None, 0), (True, None, 2)]
    assert [dict(one.metadata) for one in outcomes] == [
        {"released": 1, "released_anew": 1, "last_release_stays": 0, "suppressed": 0, "oldest_release_hours": 0},
        {"released": 1, "released_anew": 0, "last_release_stays": 1, "suppressed": 0, "oldest_release_hours": 1},
        {"released": 1, "released_anew": 1, "last_release_stays": 0, "suppressed": 0, "oldest_release_hours": 0},
    ]
    assert [one.rows for one in outcomes] == [1, 1, 1]
    assert not any(number for one in outcomes for number in one.findings.values())


def test_contributions_are_kept_of_released_cohorts_only(resources: RunContext) -> None:
    few = [user(f"v{number}", cohort_id="c2") for number in range(3)]
    run(resources, 0, members=[*PEOPLE, *few])
    rows = resources.lake.scan(COHORT_RELEASE_CONTRIBUTIONS, [FIRST]).collect()
    assert set(rows["cohort_id"]) == {"c1"}
    assert rows["user_id"].to_list() == [row["user_id"] for row in PEOPLE]
    run(resources, 1, busy=1)
    assert resources.lake.exists(COHORT_RELEASE_CONTRIBUTIONS, hour(1))
    assert resources.lake.rows(COHORT_RELEASE_CONTRIBUTIONS, hour(1)) == 0


def test_a_second_run_of_an_hour_changes_no_byte(resources: RunContext) -> None:
    run(resources, 0)
    run(resources, 1, busy=5)
    before = lake_digest(resources.settings.local)
    take_in(resources, 1, busy=12)
    again = release(resources, 1)
    after = lake_digest(resources.settings.local)
    assert {path for path in after if after[path] != before[path]} == {
        str(resources.lake.path(USER_GHOST_STATS, hour(1)).relative_to(resources.lake.root))
    }
    assert again.rows == 1
    assert again.findings == {}
    assert again.metadata == {"ledger": "unchanged: it ends with 2025-03-12-12:00 and takes newer hours only"}


def test_a_backfill_of_an_older_hour_adds_no_entry_to_the_ledger(resources: RunContext) -> None:
    run(resources, 2)
    for older in (0, 1, 2):
        assert run(resources, older, busy=12).rows == (1 if older == 2 else 0)
    assert resources.lake.hours(COHORT_GHOST_RELEASE) == [hour(2)]
    assert kept(resources) == [2]


def ranks(resources: RunContext, number: int) -> dict[str, tuple[int | None, int | None]]:
    """The ranks by tasks that users are shown: in the cohort, and among all."""
    rows = resources.lake.scan(USER_RELEASED_RANKS, [hour(number)]).collect()
    columns = [f"tasks_completed_percentile_{base}" for base in ("cohort", "global")]
    return {name: (of_cohort, of_all) for name, of_cohort, of_all in rows.select("user_id", *columns).rows()}


def test_ranks_move_with_the_release(resources: RunContext) -> None:
    run(resources, 0)
    run(resources, 1, busy=3)
    assert ranks(resources, 0) == ranks(resources, 1) == {row["user_id"]: (0, None) for row in PEOPLE}
    run(resources, 2, busy=6)
    found = ranks(resources, 2)
    # Six are below the six others; five of them count.
    assert (found["u00"], found["u11"]) == ((41, None), (0, None))
    assert USER_RELEASED_RANKS.faults(resources.lake.scan(USER_RELEASED_RANKS, [hour(2)]).collect()) == []


def test_ranks_among_all_users_are_those_of_the_day_before_and_stay_for_the_day(tmp_path: Path) -> None:
    resources = RunContext.of(Settings.load(data=tmp_path, rank_min_users=12))
    run(resources, 0, busy=6)
    assert {of_all for _, of_all in ranks(resources, 0).values()} == {None}
    take_in(resources, 11, busy=5)
    for number in (13, 14):
        run(resources, number, busy=7)
        # The hour that ends at midnight is missing.
        assert ranks(resources, number)["u00"][1] == 41
    take_in(resources, 12, busy=12)
    run(resources, 15, busy=9)
    assert ranks(resources, 15)["u00"][1] == 41
    run(resources, 37, busy=1)
    assert ranks(resources, 37)["u00"][1] == 0


def test_releases_that_stay_in_a_ledger_of_an_earlier_version_are_ranked_by_their_own_hour(
    resources: RunContext,
) -> None:
    run(resources, 0, busy=6)
    expected = ranks(resources, 0)
    resources.lake.remove(USER_RELEASED_RANKS, hour(0))
    run(resources, 1, busy=7)
    assert seen(resources, 1) == (True, None, 0)
    assert ranks(resources, 1) == expected


def test_an_hour_that_was_left_out_is_no_obstacle(resources: RunContext) -> None:
    run(resources, 0)
    run(resources, 5, busy=1)
    assert seen(resources, 5) == (True, None, 0)


def test_suppressed_after_its_last_release_has_stayed_and_back_only_with_enough_changes(tmp_path: Path) -> None:
    resources = RunContext.of(Settings.load(data=tmp_path, release_stay_hours=0))
    people, others = PEOPLE[:10], [{**row, "cohort_id": "c2"} for row in PEOPLE[:2]]
    run(resources, 0, members=people)
    run(resources, 1, members=[*people[2:], *others])
    run(resources, 2, members=[*people[1:], others[0], PEOPLE[10]])
    run(resources, 3, members=[*people[2:], *others, *PEOPLE[10:]])
    assert [seen(resources, number) for number in range(4)] == [
        (True, None, 0),
        (False, "too_few_members", None),
        (False, "too_few_members", None),
        (True, None, 3),
    ]


def test_a_run_that_died_before_the_ledger_is_made_good_by_the_next_run_of_the_hour(resources: RunContext) -> None:
    run(resources, 0)
    run(resources, 1, busy=5)
    undisturbed = lake_digest(resources.settings.local)
    resources.lake.remove(COHORT_GHOST_RELEASE, hour(1))
    left = resources.lake.scan(COHORT_RELEASE_CONTRIBUTIONS, [hour(1)]).with_columns(pl.col("tasks_completed") + 9)
    resources.lake.write(COHORT_RELEASE_CONTRIBUTIONS, hour(1), left.collect())
    release(resources, 1)
    assert lake_digest(resources.settings.local) == undisturbed


def test_what_a_run_left_that_died_before_the_ledger_counts_for_nothing_in_a_later_hour(resources: RunContext) -> None:
    run(resources, 0)
    run(resources, 1, busy=5)
    resources.lake.remove(COHORT_GHOST_RELEASE, hour(1))
    # One more than at the hour of which the ledger knows nothing.
    run(resources, 2, busy=6)
    assert seen(resources, 2) == (True, None, 2)
    assert kept(resources) == [0, 2]


def test_contributions_go_when_no_later_hour_compares_with_them(resources: RunContext) -> None:
    for number, busy in enumerate([0, 4, 8]):
        run(resources, number, busy=busy)
    assert kept(resources) == [0, 1, 2]
    # 24 hours after hour 1 the last release is that of hour 2.
    run(resources, 25, busy=9)
    assert kept(resources) == [2, 25]
    run(resources, 70, busy=10)
    assert kept(resources) == [2, 70]
    run(resources, 90, busy=12)
    assert kept(resources) == [70, 90]


def test_lost_contributions_are_a_finding_and_release_nothing(resources: RunContext) -> None:
    run(resources, 0)
    resources.lake.remove(COHORT_RELEASE_CONTRIBUTIONS, hour(0))
    assert run(resources, 1, busy=12).findings == {"cohorts_whose_last_release_cannot_be_compared": 1}
    assert seen(resources, 1) == (True, None, 0)


def test_an_hour_without_figures_of_users_adds_nothing_to_the_ledger(resources: RunContext) -> None:
    run(resources, 0)
    with pytest.raises(LakeError, match=r"cohort_ghost_release, partition 2025-03-12-12:00: user_ghost_stats has no"):
        release(resources, 1)
    assert resources.lake.hours(COHORT_GHOST_RELEASE) == [FIRST]


def test_runs_side_by_side_release_one_after_the_other(resources: RunContext, tmp_path: Path) -> None:
    numbers = range(6)
    for number in numbers:
        take_in(resources, number, busy=number)
    failures: list[BaseException] = []

    def materialize(number: int) -> None:
        try:
            compute_one(materialize_cohort_ghost_release, resources, hour(number))
        except BaseException as error:  # noqa: BLE001 - told by the thread that asserts
            failures.append(error)

    threads = [threading.Thread(target=materialize, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    written = resources.lake.hours(COHORT_GHOST_RELEASE)
    assert written[-1] == hour(5)
    # Whichever came first: each entry follows from the one before it.
    alone = RunContext.of(resources.settings, Lake(tmp_path / "alone"))
    for one in written:
        alone.lake.write(USER_GHOST_STATS, one, resources.lake.scan(USER_GHOST_STATS, [one]).collect())
        compute_one(materialize_cohort_ghost_release, alone, one)
    for contract in (COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS, USER_RELEASED_RANKS):
        assert alone.lake.scan(contract).collect().equals(resources.lake.scan(contract).collect())


def test_a_run_that_writes_too_long_is_named(resources: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    take_in(resources, 0)
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.1)
    with (
        FileLock(resources.lake.root / ".cohort_ghost_release.lock"),
        pytest.raises(
            LakeError, match=r"cohort_ghost_release: another run has been writing it for 0\.1 s .* Wait for it"
        ),
    ):
        release(resources, 0)
    release(resources, 0)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("in the way", encoding="utf-8")
    with (
        pytest.raises(LakeError, match=r"\.table\.lock: cannot be written \(File exists\)"),
        locking.table_lock(tmp_path / "lake", "table"),
    ):
        pass


def test_the_defaults_of_the_settings_are_those_of_the_rules() -> None:
    assert ReleaseRules.of(Settings.load()) == ReleaseRules(
        10, 20, 90, 4, timedelta(hours=336), timedelta(hours=48), strict=False
    )


def test_every_threshold_is_a_setting() -> None:
    settings = Settings.load(
        release_min_members=11,
        release_min_members_percentiles=21,
        release_max_share_percent=80,
        release_min_changed=5,
        release_compared_hours=48,
        release_stay_hours=24,
        release_profile="strict",
    )
    assert ReleaseRules.of(settings) == ReleaseRules(
        11, 21, 80, 5, timedelta(hours=48), timedelta(hours=24), strict=True
    )


def test_the_ledger_speaks_of_nobody(resources: RunContext) -> None:
    outcome = run(resources, 0)
    assert outcome.sample is not None
    assert "user_id" not in outcome.sample.columns
    assert compute_one(COUNTED.compute, resources, FIRST).sample is None


def test_one_who_falls_silent_waits_in_the_release(resources: RunContext) -> None:
    members = [{**row, "created_at": at("2025-02-01T00:00")} for row in PEOPLE]
    silent = [event("u00", FIRST.as_of - timedelta(days=14)), *(one for one in TASKS if one["user_id"] != "u00")]
    for number in range(2):
        stats = user_ghost_stats(users_frame(members), progress_frame(silent), hour(number).as_of)
        resources.lake.write(USER_GHOST_STATS, hour(number), stats.collect())
        release(resources, number)
    assert [seen(resources, number) for number in range(2)] == [(True, None, 0), (True, None, 1)]
    assert resources.lake.rows(COHORT_RELEASE_CONTRIBUTIONS, hour(1)) == len(PEOPLE)


def test_whoever_was_erased_still_counts_as_having_left(resources: RunContext) -> None:
    """Two releases that differ by one person give that person away, erased or not (G9.3)."""
    run(resources, 0)
    lake = resources.lake
    erase_from_lake(lake, personal_ids_in(lake, ["u00"]), b"key", FIRST.as_of)
    assert set(ranks(resources, 0)) == {row["user_id"] for row in PEOPLE[1:]}
    run(resources, 1, members=PEOPLE[1:])
    assert seen(resources, 1) == (True, None, 0)
    names = lake.scan(COHORT_RELEASE_CONTRIBUTIONS).collect()["user_id"]
    assert names.len() == 12
    assert "u00" not in names
    # Had the row gone with them, nobody would seem to have left, and what is released would be the other eleven.
    gone = ~pl.col("user_id").str.starts_with("u")
    lake.rewrite(COHORT_RELEASE_CONTRIBUTIONS, [hour(0)], lambda rows: rows.filter(~gone))
    run(resources, 2, members=PEOPLE[1:])
    assert seen(resources, 2) == (True, None, 2)


@pytest.mark.parametrize("held_rows", [0, 20, 10**6])
def test_many_hours_of_one_run_release_what_single_runs_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_rows: int
) -> None:
    monkeypatch.setattr(of_release, "HELD_ROWS", held_rows)
    digests = []
    for name in ("single", "together"):
        resources = RunContext.of(Settings.load(data=tmp_path / name, release_compared_hours=4))
        for number, busy in enumerate([0, 3, 4, 0, 12, 1, 7]):
            take_in(resources, number, busy=busy)
        window = [hour(number) for number in range(7)]
        for some in [window] if name == "together" else [[one] for one in window]:
            list(materialize_cohort_ghost_release(resources, some))
        digests.append(lake_digest(tmp_path / name))
        assert {seen(resources, number)[2] for number in range(7)} > {0}
    assert digests[0] == digests[1]
