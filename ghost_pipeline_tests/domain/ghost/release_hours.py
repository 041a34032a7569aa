"""Hours of releases without a lake, and members with everything defaulted that a test does not speak of."""

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.domain.ghost.cohort_ghost_release import (
    ReleaseRules,
    cohort_ghost_release,
    released_contributions,
)
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
    """Members as the release takes them."""
    hour = Hour.ending_at(as_of)
    clock = {"snapshot_date": hour.date, "snapshot_hour": hour.hour, "as_of": as_of}
    rows = members if isinstance(members, pl.DataFrame) else pl.DataFrame(list(members), infer_schema_length=None)
    frame = rows.with_columns(pl.lit(value).alias(name) for name, value in clock.items())
    return COHORT_RELEASE_CONTRIBUTIONS.empty().vstack(
        frame.select(pl.col(name).cast(dtype) for name, dtype in COHORT_RELEASE_CONTRIBUTIONS.polars_schema.items())
    )


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
        now = contributions(members, self.as_of)
        release = cohort_ghost_release(
            now.lazy(), self.ledger.lazy(), self.contributions.lazy(), self.as_of, self.rules
        ).collect()
        assert COHORT_GHOST_RELEASE.faults(release) == []
        self.ledger = release
        self.contributions.vstack(
            released_contributions(now.lazy(), release.lazy(), self.as_of).collect(), in_place=True
        )
        self.as_of += HOUR
        return {row["cohort_id"]: row for row in release.iter_rows(named=True)}
