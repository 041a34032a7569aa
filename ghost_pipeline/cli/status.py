"""`ghost-pipeline status`: how fresh tables are, rejected rows, stale hours and months, the last failed run."""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.incremental.stale_months import Reason, stale_months
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
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
    """The state of the lake and of the last runs."""

    tables: pl.DataFrame
    """Of `STATUS_SCHEMA`."""
    rejected_rows: int
    stale_hours: int
    stale_months: int
    failed: FailedRun | None

    def as_json(self) -> str:
        """The status as a JSON object."""
        tables = self.tables.with_columns(pl.col("as_of").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
        failed = None
        if self.failed:
            ended = f"{self.failed.ended:%Y-%m-%dT%H:%M:%SZ}" if self.failed.ended else None
            failed = {**self.failed._asdict(), "ended": ended}
        stale = {"stale_hours": self.stale_hours, "stale_months": self.stale_months}
        found = {"tables": tables, "rejected_rows": self.rejected_rows, **stale, "last_failed_run": failed}
        return json.dumps(found, indent=2)


def status(settings: Settings, now: datetime) -> Status:
    """Read the status from the lake and Dagster's records.

    Args:
        settings: name the data folder.
        now: the current time, aware; ages are for monitoring only (G7.7).

    """
    lake = Lake(settings.lake)
    rows = [_row(lake, contract, now) for contract in CONTRACTS.values() if contract.partitioning not in _LISTS]
    tables = pl.DataFrame([row for row in rows if row], schema=STATUS_SCHEMA, orient="row")
    rejected = retry_on_replace(lambda: int(lake.scan(REJECTED_ROWS).select(pl.len()).collect().item()))
    hours, months = stale_hours(lake).height, stale_months(lake, settings).height
    return Status(tables, rejected, hours, months, _last_failed_run(settings))


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
