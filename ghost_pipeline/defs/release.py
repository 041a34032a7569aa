"""The ledger of cohort figures that peers may see, with what later releases are compared with and shown ranks (G9).

The ledger is append-only: its partitions are never rewritten, and only an hour newer than all of them adds one (G9.4).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_RELEASE,
    COHORT_RELEASE_CONTRIBUTIONS,
    USER_GHOST_STATS,
    USER_RELEASED_RANKS,
)
from ghost_pipeline.contracts.raw import USERS
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.retention import skipped_by_retention
from ghost_pipeline.defs.table_asset import TableAsset, written_beside
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ghost.cohort_ghost_release import (
    cohort_ghost_release,
    member_contributions,
    moved_users,
)
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.domain.ghost.released_ranks import (
    OF_COHORT,
    OF_EVERYONE,
    RankRules,
    cohort_ranks,
    day_before,
    global_ranks,
    released_ranks,
    unranked_releases,
)
from ghost_pipeline.domain.shared.period_figures import release_figures
from ghost_pipeline.domain.shared.versions import SEEN_AT, UPDATED_AT, VALID_FROM, of_changed
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import Hour

HELD_BYTES, HELD_ROWS = 4 << 20, 1_000_000
"""Files of contributions that a run reads once, and their rows in memory: 100 MB."""


def materialize_cohort_ghost_release(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Write the figures that peers may see from the end of each hour on, and the contributions of the members."""
    earlier = _Contributions(run.lake, held=len(hours) > 1)
    versions = run.lake.scan(USERS).select("user_id", "cohort_id", UPDATED_AT, VALID_FROM, SEEN_AT)
    versions = of_changed(versions, "user_id").collect().lazy()
    for hour in hours:
        yield _release(run, hour, earlier, versions)


class _Contributions:
    """Contributions to releases. A run of many hours reads small ones once: each hour compares with 14 days of files.

    Nothing replaces them meanwhile: a release is written once, and an erasure waits until the run has ended.
    """

    def __init__(self, lake: Lake, *, held: bool) -> None:
        self._lake, self._held = lake, held
        self._hours: set[Hour] = set()
        self._rows = COHORT_RELEASE_CONTRIBUTIONS.empty()

    def hold(self, hours: Sequence[Hour]) -> None:
        """Read what is new of some hours and forget all others, unless there is too much."""
        new = [hour for hour in hours if hour not in self._hours]
        parts = list(self._lake.in_parts(COHORT_RELEASE_CONTRIBUTIONS, new, HELD_BYTES)) if self._held else []
        if not self._held or len(parts) > 1 or self._rows.height > HELD_ROWS:
            self._held, self._hours, self._rows = False, set(), self._rows.clear()
            return
        kept = self._rows.filter(pl.col("as_of").is_in(_ends(hours)))
        read = self._lake.scan(COHORT_RELEASE_CONTRIBUTIONS, new).collect()
        self._rows, self._hours = pl.concat([kept, read], rechunk=True), set(hours)

    def scan(self, hours: Sequence[Hour]) -> pl.LazyFrame:
        """Return the contributions of some hours."""
        if self._held:
            return self._rows.lazy().filter(pl.col("as_of").is_in(_ends(hours)))
        return self._lake.scan(COHORT_RELEASE_CONTRIBUTIONS, hours)

    def in_parts(self, hours: Sequence[Hour]) -> list[pl.LazyFrame]:
        """Return the contributions of some hours in parts that fit into memory, the newest first."""
        if self._held:
            return [self.scan(hours)]
        parts = list(self._lake.in_parts(COHORT_RELEASE_CONTRIBUTIONS, hours, HELD_BYTES))
        return [self.scan(part) for part in reversed(parts)]


def _ends(hours: Sequence[Hour]) -> list[datetime]:
    return [hour.as_of for hour in hours]


def _release(run: RunContext, hour: Hour, earlier: _Contributions, versions: pl.LazyFrame) -> TableResult:
    lake = run.lake
    # A release depends on the one before it; without the lock, two runs would not see each other's.
    with table_lock(lake.root, COHORT_GHOST_RELEASE.name):
        newest = lake.newest_hour(COHORT_GHOST_RELEASE)
        # A release that old has no readers.
        if skipped := skipped_by_retention(run, hour):
            return skipped
        if newest and hour <= newest:
            # The run that added the entry may have been killed before this.
            _forget(lake, _needed(lake, newest, ReleaseRules.of(run.settings)))
            return TableResult(
                rows=lake.rows(COHORT_GHOST_RELEASE, hour),
                metadata={"ledger": f"unchanged: it ends with {newest.key} and takes newer hours only"},
            )
        return _append(run, newest, hour, earlier, versions)


def _append(
    run: RunContext, newest: Hour | None, hour: Hour, earlier: _Contributions, versions: pl.LazyFrame
) -> TableResult:
    lake, rules = run.lake, ReleaseRules.of(run.settings)
    if not lake.exists(USER_GHOST_STATS, hour):
        raise LakeError(
            f"{COHORT_GHOST_RELEASE.name}, partition {hour.key}: {USER_GHOST_STATS.name} has no such hour, and the "
            f"ledger cannot be corrected later. Materialize {USER_GHOST_STATS.name} for it first",
        )
    before = lake.scan(COHORT_GHOST_RELEASE, [newest] if newest else []).collect()
    compared = _compared(lake, before, hour.as_of - rules.compared)
    earlier.hold(compared)
    last = set(before["last_release_as_of"])
    newest_releases, older = ([one for one in compared if (one.as_of in last) == wanted] for wanted in (True, False))
    moved = moved_users(versions, hour.as_of, rules)
    members = member_contributions(lake.scan(USER_GHOST_STATS, [hour]), moved, hour.as_of)
    made = cohort_ghost_release(
        members, before.lazy(), earlier.scan(newest_releases), earlier.in_parts(older), hour.as_of, rules
    )
    release = made.ledger
    ranks = _ranks(lake, newest, hour, release, RankRules.of(run.settings))
    # In this order: contributions without a ledger entry are ignored, an entry without them could never be compared.
    lake.write(COHORT_RELEASE_CONTRIBUTIONS, hour, made.contributions)
    lake.write(USER_RELEASED_RANKS, hour, ranks)
    lake.write(COHORT_GHOST_RELEASE, hour, release)
    needed = _needed(lake, hour, rules)
    _forget(lake, needed)
    fresh, released = release["released_as_of"] == hour.as_of, release["released"]
    ends = {one.as_of for one in needed}
    lost = sum(last is not None and last not in ends for last in release["last_release_as_of"])
    return TableResult(
        rows=release.height,
        findings={"cohorts_whose_last_release_cannot_be_compared": lost},
        metadata={
            "released": int(released.sum()),
            "released_anew": int(fresh.sum()),
            "last_release_stays": int(released.sum()) - int(fresh.sum()),
            "suppressed": int(release.height - released.sum()),
            **_oldest(release),
        },
        sample=release,
    )


def _oldest(release: pl.DataFrame) -> dict[str, int]:
    """Return the age in hours of the oldest release that is shown, if any is."""
    ages = (release["as_of"] - release["released_as_of"]).dt.total_hours().drop_nulls().to_list()
    return {"oldest_release_hours": max(ages)} if ages else {}


def _ranks(lake: Lake, newest: Hour | None, hour: Hour, release: pl.DataFrame, rules: RankRules) -> pl.DataFrame:
    """Return the ranks that users are shown from the end of `hour` on."""
    before, ledger = lake.scan(USER_RELEASED_RANKS, [newest] if newest else []).collect().lazy(), release.lazy()
    unranked = unranked_releases(before, ledger).collect()
    of_cohorts = [USER_RELEASED_RANKS.empty().select(OF_COHORT)]
    # Of releases that stay there are none only if an earlier version wrote the ledger.
    for (end,), cohorts in unranked.group_by("released_as_of"):
        stats = lake.scan(USER_GHOST_STATS, lake.written(USER_GHOST_STATS, [Hour.ending_at(end)]))
        of_cohorts.append(cohort_ranks(stats, cohorts.lazy(), end, rules).collect())
    return released_ranks(
        before, ledger, pl.concat(of_cohorts).lazy(), _of_everyone(lake, newest, hour, before, rules), hour.as_of
    ).collect()


def _of_everyone(lake: Lake, newest: Hour | None, hour: Hour, before: pl.LazyFrame, rules: RankRules) -> pl.LazyFrame:
    """Return the ranks among all users, which stay for the day."""
    until = day_before(hour.as_of)
    if newest and day_before(newest.as_of) == until:
        kept = before.filter(pl.col("global_as_of").is_not_null()).select(OF_EVERYONE).collect()
        if kept.height:
            return kept.lazy()
    last = lake.last_hour_until(USER_GHOST_STATS, until)
    if last is None:
        return USER_RELEASED_RANKS.empty().lazy().select(OF_EVERYONE)
    return global_ranks(lake.scan(USER_GHOST_STATS, [last]), last.as_of, rules)


def _needed(lake: Lake, newest: Hour, rules: ReleaseRules) -> list[Hour]:
    """Return the hours whose contributions the next hour, or a later one, will be compared with."""
    ledger = lake.scan(COHORT_GHOST_RELEASE, [newest]).collect()
    return _compared(lake, ledger, newest.next().as_of - rules.compared)


def _forget(lake: Lake, needed: list[Hour]) -> None:
    """Remove the contributions of all other hours: they name people."""
    for old in set(lake.hours(COHORT_RELEASE_CONTRIBUTIONS)) - set(needed):
        lake.remove(COHORT_RELEASE_CONTRIBUTIONS, old)


def _compared(lake: Lake, ledger: pl.DataFrame, since: datetime) -> list[Hour]:
    """Return the hours whose contributions a release is compared with: from `since` on, and each cohort's last one."""
    last = set(ledger["last_release_as_of"])
    kept = lake.hours(COHORT_RELEASE_CONTRIBUTIONS)
    return lake.written(COHORT_GHOST_RELEASE, [hour for hour in kept if hour.as_of >= since or hour.as_of in last])


RELEASE_ASSETS = (
    TableAsset(
        COHORT_GHOST_RELEASE,
        (USERS, USER_GHOST_STATS),
        materialize_cohort_ghost_release,
        comparisons=(period_over_period(COHORT_GHOST_RELEASE, release_figures),),
        counts="cohorts whose last release has no contributions left to compare with",
    ),
    *(
        TableAsset(beside, (COHORT_GHOST_RELEASE, USER_GHOST_STATS), written_beside(beside))
        for beside in (COHORT_RELEASE_CONTRIBUTIONS, USER_RELEASED_RANKS)
    ),
)
