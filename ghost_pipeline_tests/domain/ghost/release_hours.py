"""Hours of releases without a lake, and members with everything defaulted that a test does not speak of."""

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.domain.ghost.cohort_ghost_release import Release, cohort_ghost_release
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at
from ghost_pipeline_tests.reference.months import RULES

NOON = at("2025-03-12T12:00")


def member(number: int, cohort_id: str = "c1", /, **values: int) -> Row:
    """An active member who contributes a little of everything."""
    return {
        "cohort_id": cohort_id,
        "user_id": f"u{number:02}",
        "tasks_completed": 12,
        "tasks_this_week": 5,
        "practice_time_ms": 600_000,
        "current_streak": 3,
        "days_practiced": 4,
        **values,
    }


def people(count: int, cohort_id: str = "c1", /, **values: int) -> list[Row]:
    """Members u00, u01 and so on."""
    return [member(number, cohort_id, **values) for number in range(count)]


def contributions(members: Iterable[Row] | pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Members as the release takes them: active unless they say otherwise."""
    hour = Hour.ending_at(as_of)
    clock = {"snapshot_date": hour.date, "snapshot_hour": hour.hour, "as_of": as_of}
    rows = members if isinstance(members, pl.DataFrame) else pl.DataFrame(list(members), infer_schema_length=None)
    if "is_active_member" not in rows.columns:
        rows = rows.with_columns(is_active_member=pl.lit(value=True))
    frame = rows.with_columns(pl.lit(value).alias(name) for name, value in clock.items())
    schema = COHORT_RELEASE_CONTRIBUTIONS.polars_schema
    return frame.select(
        *(pl.col(name).cast(dtype) for name, dtype in schema.items()), pl.col("is_active_member").fill_null(value=True)
    ).sort("cohort_id", "user_id")


class Peers:
    """What peers see, hour by hour: keeps the ledger's newest rows and all contributions, as the step would."""

    def __init__(self, rules: ReleaseRules = RULES, first: datetime = NOON) -> None:
        """Begin with an empty ledger; the first hour ends at `first`."""
        self.rules, self.as_of = rules, first
        self.ledger = COHORT_GHOST_RELEASE.empty()
        self.contributions = COHORT_RELEASE_CONTRIBUTIONS.empty()

    def see(self, members: Iterable[Row] | pl.DataFrame, *, later: int = 0) -> dict[str, Row]:
        """What they see at the end of the next hour, or of one that many hours later, by cohort."""
        self.as_of += later * HOUR
        release = self._release(contributions(members, self.as_of))
        assert COHORT_GHOST_RELEASE.faults(release.ledger) == []
        assert COHORT_RELEASE_CONTRIBUTIONS.faults(release.contributions) == []
        self.ledger = release.ledger
        self.contributions.vstack(release.contributions, in_place=True)
        self.as_of += HOUR
        return {row["cohort_id"]: row for row in release.ledger.iter_rows(named=True)}

    def _release(self, members: pl.DataFrame) -> Release:
        is_last = pl.col("as_of").is_in(self.ledger["last_release_as_of"].drop_nulls().to_list())
        newest, older = (self.contributions.lazy().filter(flag) for flag in (is_last, ~is_last))
        return cohort_ghost_release(members.lazy(), self.ledger.lazy(), newest, [older], self.as_of, self.rules)
