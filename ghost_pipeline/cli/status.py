"""`ghost-pipeline status`: freshness, rejected rows, stale hours and months, failed runs, the publication."""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.errors import GhostError
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.incremental.stale_months import Reason, stale_months
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.publication_parts import file_differences, published_name
from ghost_pipeline.publish.publication_record import PublicationName
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Day, Hour, Month

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

_LISTS = frozenset({Partitioning.REJECTED, Partitioning.STALE_DAY, Partitioning.ERASED_DAY})
"""Partitioned by the date that they refer to, not by when they were written: they have no age."""


class FailedRun(NamedTuple):
    """The last run that failed."""

    run_id: str
    job: str
    partition: str
    ended: datetime | None


@dataclass(frozen=True)
class Status:
    """The state of the lake, of the last runs and of what is published."""

    tables: pl.DataFrame
    """Of `STATUS_SCHEMA`."""
    rejected_rows: int
    stale_hours: int
    stale_months: int
    failed: FailedRun | None
    publication: PublicationName | None
    """Which publication readers answer from."""
    differences: tuple[str, ...]
    """What of the published parts is not of that publication."""

    def as_json(self) -> str:
        """The status as a JSON object."""
        tables = self.tables.with_columns(pl.col("as_of").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
        failed = None
        if self.failed:
            ended = f"{self.failed.ended:%Y-%m-%dT%H:%M:%SZ}" if self.failed.ended else None
            failed = {**self.failed._asdict(), "ended": ended}
        stale = {"stale_hours": self.stale_hours, "stale_months": self.stale_months}
        found = {
            "tables": tables,
            "rejected_rows": self.rejected_rows,
            **stale,
            "last_failed_run": failed,
            "publication": self._publication(),
        }
        return json.dumps(found, indent=2)

    def _publication(self) -> dict[str, object] | None:
        name = self.publication
        if name is None and not self.differences:
            return None
        as_of = f"{name.as_of:%Y-%m-%dT%H:%M:%SZ}" if name and name.as_of else None
        return {"id": name.id if name else None, "as_of": as_of, "differences": list(self.differences)}


def status(settings: Settings, now: datetime) -> Status:
    """Read the status from the lake, what is published and Dagster's records.

    Args:
        settings: name the data folder.
        now: the current time, aware; ages are for monitoring only (G7.7).

    """
    lake = Lake(settings.lake)
    rows = [_row(lake, contract, now) for contract in CONTRACTS.values() if contract.partitioning not in _LISTS]
    tables = pl.DataFrame([row for row in rows if row], schema=STATUS_SCHEMA, orient="row")
    rejected = retry_on_replace(lambda: int(lake.scan(REJECTED_ROWS).select(pl.len()).collect().item()))
    hours, months = stale_hours(lake).height, stale_months(lake, settings).height
    name, differences = _publication(settings)
    return Status(tables, rejected, hours, months, _last_failed_run(settings), name, differences)


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
    newest = _newest(lake, contract)
    if newest is None:
        return None
    age, limit = now - newest.as_of, contract.max_age
    rows = lake.rows(contract, newest)
    return contract.name, newest.key, newest.as_of, age // HOUR, limit // HOUR, age > limit, rows


def _newest(lake: Lake, contract: Contract) -> Hour | Day | Month | None:
    match contract.partitioning:
        case Partitioning.MONTH:
            found: list[Month] | list[Day] = lake.months(contract)
        case Partitioning.EVENT_DAY:
            found = lake.days(contract)
        case _:
            return lake.newest_hour(contract)
    return found[-1] if found else None


def _last_failed_run(settings: Settings) -> FailedRun | None:
    """The newest failed run in Dagster's records; None without one, or if Dagster has not run yet."""
    home = settings.dagster_home.absolute()
    if not (os.environ.get("DAGSTER_HOME") or (home / "dagster.yaml").exists()):
        return None
    # Importing it takes longer than everything else here.
    import dagster as dg

    os.environ.setdefault("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        failures = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
    for record in failures:
        run, tags = record.dagster_run, record.dagster_run.tags
        partition = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end", "")
        return FailedRun(run.run_id, run.job_name, partition, record.update_timestamp)
    return None
