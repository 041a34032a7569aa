"""The state of the lake and of what is published: freshness, rejected rows, stale partitions, releases, runs.

`ghost-pipeline status` prints it; alerts and figures for Prometheus are made from it. What counts as an incident is in
`incidents`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.errors import GhostError
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.incremental.stale_months import Reason, stale_months
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.publication_parts import file_differences, published_name
from ghost_pipeline.publish.publication_record import PublicationName
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR

STATUS_SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "newest": pl.String(),
        "as_of": pl.Datetime("us", "UTC"),
        "age_hours": pl.Int64(),
        "may_be_hours": pl.Int64(),
        "late": pl.Boolean(),
        "rows": pl.Int64(),
    }
)
"""The columns of `Status.tables`: one row per table that has a partition."""


class FinishedRun(NamedTuple):
    """A run that has succeeded or failed."""

    run_id: str
    job: str
    partition: str
    """The hour or month, the last one of a range; empty for a run without partitions."""
    ended: datetime | None
    succeeded: bool
    error: str
    """Why it failed, in one line; empty if that is not known, or it succeeded."""


class FailedCheck(NamedTuple):
    """A check whose newest result is a failure or a warning."""

    table: str
    check: str
    partition: str
    """Empty if the result is of no single partition."""
    since: datetime
    description: str


class Releases(NamedTuple):
    """The newest partition of the ledger of releases."""

    as_of: datetime
    released: int
    """Cohorts whose figures peers may see."""
    suppressed: int
    """Cohorts whose figures peers may not see."""
    with_release: int
    """Cohorts that have a release, also if they are suppressed now."""
    too_old: int
    """Of these, cohorts with a release that is older than answers may use (`GHOST_RELEASE_MAX_AGE_HOURS`)."""
    newest: datetime | None
    """as_of of the newest release of any cohort."""


@dataclass(frozen=True)
class Status:
    """The state of the lake, of the last runs and of what is published."""

    tables: pl.DataFrame
    """Of `STATUS_SCHEMA`."""
    rejected_rows: int
    stale_hours: int
    stale_months: int
    runs: tuple[FinishedRun, ...]
    """The newest finished runs in Dagster's records, the newest first."""
    failed_checks: tuple[FailedCheck, ...]
    releases: Releases | None
    """None before the first release."""
    publication: PublicationName | None
    """Which publication readers answer from."""
    differences: tuple[str, ...]
    """What of the published parts is not of that publication."""

    @property
    def failed(self) -> FinishedRun | None:
        """The last run that failed."""
        return next((run for run in self.runs if not run.succeeded), None)

    def as_json(self) -> str:
        """The status as a JSON object."""
        tables = self.tables.with_columns(pl.col("as_of").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
        failed = None
        if self.failed:
            ended = f"{self.failed.ended:%Y-%m-%dT%H:%M:%SZ}" if self.failed.ended else None
            failed = {**self.failed._asdict(), "ended": ended}
            del failed["succeeded"]
        releases = self.releases and self.releases._asdict()
        stale = {"stale_hours": self.stale_hours, "stale_months": self.stale_months}
        found = {
            "tables": tables,
            "rejected_rows": self.rejected_rows,
            **stale,
            "last_failed_run": failed,
            "releases": releases,
            "publication": self._publication(),
        }
        return json.dumps(found, indent=2, default=_instant)

    def _publication(self) -> dict[str, object] | None:
        name = self.publication
        if name is None and not self.differences:
            return None
        as_of = f"{name.as_of:%Y-%m-%dT%H:%M:%SZ}" if name and name.as_of else None
        return {"id": name.id if name else None, "as_of": as_of, "differences": list(self.differences)}


def _instant(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no text in JSON")
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


def status(
    settings: Settings, now: datetime, runs: Sequence[FinishedRun] = (), failed_checks: Sequence[FailedCheck] = ()
) -> Status:
    """Read the status from the lake and from what is published.

    Args:
        settings: name the data folder.
        now: the current time, aware; ages are for monitoring only (G7.7).
        runs: the newest finished runs, the newest first.
        failed_checks: the checks whose newest result is a failure or a warning.

    Raises:
        GhostError: the lake cannot be read.

    """
    lake = Lake(settings.lake)
    rows = [_row(lake, contract, now) for contract in CONTRACTS.values() if contract.has_age]
    tables = pl.DataFrame([row for row in rows if row], schema=STATUS_SCHEMA, orient="row")
    rejected = retry_on_replace(lambda: int(lake.scan(REJECTED_ROWS).select(pl.len()).collect().item()))
    hours, months = stale_hours(lake).height, stale_months(lake, settings).height
    name, differences = _publication(settings)
    return Status(
        tables=tables,
        rejected_rows=rejected,
        stale_hours=hours,
        stale_months=months,
        runs=tuple(runs),
        failed_checks=tuple(failed_checks),
        releases=retry_on_replace(lambda: _releases(lake, timedelta(hours=settings.release_max_age_hours))),
        publication=name,
        differences=differences,
    )


def _releases(lake: Lake, max_age: timedelta) -> Releases | None:
    newest = lake.newest_hour(COHORT_GHOST_RELEASE)
    if newest is None:
        return None
    ledger = lake.scan(COHORT_GHOST_RELEASE, [newest]).select("released", "last_release_as_of").collect()
    released, last = int(ledger["released"].sum()), ledger["last_release_as_of"]
    youngest = last.max()
    return Releases(
        as_of=newest.as_of,
        released=released,
        suppressed=ledger.height - released,
        with_release=last.len() - last.null_count(),
        too_old=int((last < newest.as_of - max_age).sum()),
        newest=youngest if isinstance(youngest, datetime) else None,
    )


def _publication(settings: Settings) -> tuple[PublicationName | None, tuple[str, ...]]:
    """Which publication readers answer from, and what of the published parts is not of it, in one line each."""
    name, found = None, list[str]()
    try:
        name = published_name(settings.database)
        found += file_differences(settings)
        if settings.publish_postgres and (told := _of_postgres(settings.publish_postgres, name)):
            found.append(told)
    except GhostError as error:
        found.append(str(error))
    return name, tuple(found)


def _of_postgres(location: str, name: PublicationName | None) -> str | None:
    # Importing the driver takes longer than everything that a data folder without PostgreSQL needs.
    from ghost_pipeline.publish.postgres_copy import published_state

    return published_state(location).difference_from(name)


def stale_rows(lake: Lake, settings: Settings) -> pl.DataFrame:
    """The stale hours and, below them, the stale months.

    Returns:
        table, hour (its start, null for a month), month (null for an hour), reason, changed_from, noticed_at.

    """
    hours = stale_hours(lake).with_columns(month=pl.lit(None, pl.String), reason=pl.lit(Reason.INPUTS.value))
    months = stale_months(lake, settings).with_columns(hour=pl.lit(None, pl.Datetime("us", "UTC")))
    columns = ["table", "hour", "month", "reason", "changed_from", "noticed_at"]
    return pl.concat([hours.select(columns), months.select(columns)])


def _row(lake: Lake, contract: Contract, now: datetime) -> tuple[object, ...] | None:
    newest = lake.newest(contract)
    if newest is None:
        return None
    age, late = now - newest.as_of, now > contract.late_after(newest.as_of)
    rows = lake.rows(contract, newest)
    return contract.name, newest.key, newest.as_of, age // HOUR, contract.max_age // HOUR, late, rows
