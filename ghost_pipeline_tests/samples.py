"""Rows of any table of the lake: random ones that fulfil its contract, and by which hour a test speaks of."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import dataframely as dy
import polars as pl

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.lake.partitions import Partition, Rejects
from ghost_pipeline.windows import Day, Hour, Month

HOUR = Hour(datetime(2025, 3, 12, 11, tzinfo=UTC))
MONTH = Month(datetime(2025, 2, 1, tzinfo=UTC))
TABLES = sorted(CONTRACTS)


def sample(contract: Contract, rows: int, seed: int) -> pl.DataFrame:
    """Random rows that fulfil the contract; the same seed gives the same rows."""
    frame: pl.DataFrame = contract.schema.sample(rows, generator=dy.random.Generator(seed))
    return pl.DataFrame(frame)


def partition_of(contract: Contract) -> Partition:
    """A partition such as the table has."""
    match contract.partitioning:
        case Partitioning.MONTH:
            return MONTH
        case Partitioning.EVENT_DAY | Partitioning.STALE_DAY | Partitioning.ERASED_DAY:
            return Day.containing(HOUR.start)
        case Partitioning.REJECTED:
            return Rejects("users", HOUR)
        case _:
            return HOUR


def one_learner(folder: Path, events: Iterable[str]) -> Path:
    """Write a source of CSV files with the learner u1, who began in March 2025, and some events; return its folder."""
    folder.mkdir()
    (folder / "users.csv").write_text("user_id,created_at\nu1,2025-03-01\n", encoding="utf-8")
    (folder / "cohorts.csv").write_text("cohort_id\n", encoding="utf-8")
    head = "progress_id,user_id,task_type,completed_at,time_spent_minutes"
    (folder / "user_progress.csv").write_text("\n".join([head, *events, ""]), encoding="utf-8")
    return folder
