"""What Dagster's records tell about finished runs and failed checks, as plain values for `monitoring`.

Deleting old records is in `run_records`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from ghost_pipeline import errors
from ghost_pipeline.defs.checks import COVERAGE
from ghost_pipeline.defs.freshness import FRESHNESS
from ghost_pipeline.defs.launcher import PROCESS
from ghost_pipeline.defs.partitions import RUN_END
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.monitoring.metrics import StepTime
from ghost_pipeline.monitoring.status import FailedCheck, FinishedRun

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
RUNS_SEEN = 100
"""Four days of hourly runs; older ones have no influence on incidents."""
RUNS_TIMED = 8
"""A command runs an hour and its month in up to three runs."""
WILL_RETRY = "dagster/will_retry"
"""Dagster's tag of a failed run that it is about to run again."""
INTERRUPTED = "DagsterExecutionInterruptedError"
FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
OWN_ERRORS = frozenset(name for name, kind in vars(errors).items() if isinstance(kind, type))
"""The errors whose messages cite no value of a row; of any other only the name is told."""


def finished_runs(instance: dg.DagsterInstance) -> Iterator[FinishedRun]:
    """Yield the newest finished runs, the newest first; of the failed ones only the newest of each job has its error.

    Runs that Dagster is about to run again, and those that a person has interrupted, are left out.
    """
    told: set[str] = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=FINISHED), limit=RUNS_SEEN):
        run = record.dagster_run
        # A command does not start its run again, whatever Dagster notes.
        if run.tags.get(WILL_RETRY) == "true" and PROCESS not in run.tags:
            continue
        partition = run.tags.get("dagster/partition") or run.tags.get(RUN_END, "")
        succeeded, error = run.status is dg.DagsterRunStatus.SUCCESS, ""
        if not succeeded and run.job_name not in told:
            error = _error(instance.all_logs(run.run_id, of_type=FAILURES))
            if error.startswith(INTERRUPTED):
                # A person pressed Ctrl-C, and knows.
                continue
            told.add(run.job_name)
        yield FinishedRun(run.run_id, run.job_name, partition, record.update_timestamp, succeeded, error)


def failed_checks(instance: dg.DagsterInstance, tables: Sequence[TableAsset]) -> Iterator[FailedCheck]:
    """Yield the checks of tables whose newest result is a failure or a warning.

    `coverage` is left out: rejected rows and stale partitions are told by their numbers, since a single rejected row
    lets it warn for good. So is `freshness`: late tables are told by their ages.
    """
    keys = [
        dg.AssetCheckKey(dg.AssetKey(table.contract.name), check.name)
        for table in tables
        for check in table.every_check
        if check.name not in {COVERAGE.name, FRESHNESS.name}
    ]
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key, record in sorted(newest.items()):
        event = record.event.dagster_event if record.event else None
        if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        result = event.asset_check_evaluation_data
        if not result.passed:
            since = datetime.fromtimestamp(record.create_timestamp, UTC)
            table = key.asset_key.to_user_string()
            yield FailedCheck(table, key.name, record.partition or "", since, result.description or "")


def step_times(instance: dg.DagsterInstance) -> Iterator[StepTime]:
    """Yield the time of every table in the newest run that succeeded and built it, among the last few of all."""
    seen: set[tuple[str, str]] = set()
    succeeded = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
    for run in instance.get_runs(succeeded, limit=RUNS_TIMED):
        for step in instance.get_run_step_stats(run.run_id):
            key = run.job_name, step.step_key
            if step.start_time is not None and step.end_time is not None and key not in seen:
                seen.add(key)
                yield StepTime(*key, step.end_time - step.start_time)


def _error(events: Iterable[dg.EventLogEntry]) -> str:
    """The reason of a failed run in one line, without a value of a row."""
    told = ""
    for entry in events:
        event = entry.dagster_event
        if event is None:
            continue
        error = getattr(event.event_specific_data, "error", None)
        while error is not None:
            if error.cls_name in OWN_ERRORS:
                return _one_line(error.message)
            told, error = error.cls_name or told, error.cause
    return f"{told}; the run's page in Dagster shows where" if told else "its process ended without an error"


def _one_line(message: str) -> str:
    # Dagster's text of an exception begins with its type.
    return " ".join(message.partition(": ")[2].split())
