"""The rules that say what an incident is: pure functions over a status.

`status --exit-code`, `alert`, Dagster's sensor and the exported metrics all ask here. Which incidents are already
known, and which messages are due, is in `alerts`.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.errors import UnknownTimeError
from ghost_pipeline.monitoring.status import FinishedRun, Status
from ghost_pipeline.windows import Hour, Month

MONTH_GRACE = timedelta(days=2)
"""A month is built 24.5 h after its end, and requested again in the next night."""
DOCTOR = "ghost-pipeline doctor"
_REJECTIONS = (
    'ghost-pipeline query "SELECT source_table, reason, count(*) AS n FROM lake.rejected_rows '
    'GROUP BY ALL ORDER BY n DESC"'
)
_RELEASES = (
    'ghost-pipeline query "SELECT suppressed_reason, count(*) AS cohorts, max(last_release_as_of) AS newest '
    'FROM cohort_ghost_release GROUP BY ALL"'
)


class Kind(StrEnum):
    """A kind of incident; messages and their pauses are counted by kind."""

    UNREADABLE = "unreadable"
    RUN_FAILED = "run failed"
    TABLE_LATE = "table late"
    MONTH_MISSING = "month missing"
    CHECK_FAILED = "check failed"
    REJECTED_ROWS = "rejected rows jumped"
    RELEASE_OLD = "release too old"


class Incident(NamedTuple):
    """Something that a person should know of, from its first sight to its end."""

    kind: Kind
    key: str
    """Tells incidents of a kind apart: the table, the job, the month."""
    what: str
    since: datetime
    error: str
    """The line that says why; empty if none is known."""
    command: str
    """The command that helps."""


def unreadable(error: str, now: datetime) -> Incident:
    """The incident of a lake that cannot be read, which leaves all other rules without an answer."""
    return Incident(Kind.UNREADABLE, "lake", "the lake cannot be read", now, error, DOCTOR)


def incidents(status: Status, now: datetime, rejected_before: int | None, rejected_limit: int) -> list[Incident]:
    """All incidents of a status, by kind.

    Args:
        status: the state of the lake, the publication, the runs and the checks.
        now: the current time, aware.
        rejected_before: rejected rows a day ago; None if that is not known.
        rejected_limit: rejected rows that may come in a day.

    """
    return [
        *published_or_late(status, now),
        *_failed_runs(status.runs, now),
        *_failed_checks(status),
        *_rejections(status, now, rejected_before, rejected_limit),
        *_old_releases(status),
    ]


def published_or_late(status: Status, now: datetime) -> list[Incident]:
    """The incidents that make `status --exit-code` fail: what readers get is unreadable, not whole, or out of date."""
    return [*_publication(status, now), *_late_tables(status, now), *_missing_month(status, now)]


def _publication(status: Status, now: datetime) -> Iterator[Incident]:
    for one in status.differences:
        what = "what is published is not whole"
        yield Incident(Kind.UNREADABLE, f"publication: {one}", what, now, one, "ghost-pipeline publish")


def _late_tables(status: Status, now: datetime) -> Iterator[Incident]:
    """Tables by the hour; a month has its own rule, which asks earlier."""
    closed = Hour.containing(now).start
    error = next((run.error for run in status.runs if not run.succeeded), "")
    for table, newest, as_of, age, limit, late in status.tables.select(
        "table", "newest", "as_of", "age_hours", "may_be_hours", "late"
    ).iter_rows():
        contract = CONTRACTS[table]
        if late and contract.partitioning is not Partitioning.MONTH:
            yield Incident(
                Kind.TABLE_LATE,
                table,
                f"{table} is late: its newest partition {newest} is {age:,} h old, and may be {limit} h",
                contract.late_after(as_of),
                error,
                f"ghost-pipeline backfill --from {as_of:%Y-%m-%dT%H:00Z} --to {closed:%Y-%m-%dT%H:%MZ}",
            )


def _missing_month(status: Status, now: datetime) -> Iterator[Incident]:
    newest: dict[str, datetime] = dict(status.tables.select("table", "as_of").rows())
    expected = Month.newest_complete(now - MONTH_GRACE)
    read_until, built_until = newest.get(USER_PROGRESS.name), newest.get(GHOST_BENCHMARKS.name)
    # Without the hours there is no month to build: then the hours are late.
    if read_until is None or read_until < expected.as_of or (built_until and built_until >= expected.as_of):
        return
    failed = next((run.error for run in status.runs if run.partition == expected.key and not run.succeeded), "")
    yield Incident(
        Kind.MONTH_MISSING,
        expected.key,
        f"the benchmarks of month {expected.key} are missing",
        expected.as_of + MONTH_GRACE,
        failed,
        f"ghost-pipeline materialize --as-of {read_until:%Y-%m-%dT%H:%MZ}",
    )


def _failed_runs(runs: Iterable[FinishedRun], now: datetime) -> Iterator[Incident]:
    """One incident for each job whose newest run failed, from the first failure after its last success on.

    A run of another job that succeeded later for the same partition ends it, too.
    """
    succeeded: set[str] = set()
    over: set[str] = set()
    failed: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.job in over:
            continue
        if run.succeeded:
            over.add(run.job)
            succeeded.add(run.partition)
        elif run.partition and run.partition in succeeded and run.job not in failed:
            over.add(run.job)
        else:
            failed.setdefault(run.job, []).append(run)
    for job, failures in failed.items():
        newest, first = failures[0], failures[-1]
        of = f" of {newest.partition}" if newest.partition else ""
        more = f", and {len(failures) - 1} before it" if len(failures) > 1 else ""
        what = f"the run of {job}{of} failed{more} ({newest.run_id})"
        yield Incident(Kind.RUN_FAILED, job, what, first.ended or now, newest.error, _command(newest.partition))


def _command(partition: str) -> str:
    """The command that builds a partition."""
    with suppress(UnknownTimeError):
        return f"ghost-pipeline materialize --as-of {Hour.from_key(partition).as_of:%Y-%m-%dT%H:%MZ}"
    with suppress(UnknownTimeError):
        end = Month.from_key(partition).as_of
        return f"ghost-pipeline backfill --from {end:%Y-%m-%dT00:00Z} --to {end:%Y-%m-%dT01:00Z}"
    return "ghost-pipeline status"


def _failed_checks(status: Status) -> Iterator[Incident]:
    for one in status.failed_checks:
        of = f", partition {one.partition}" if one.partition else ""
        what = f"the check {one.check} of {one.table} failed{of}"
        yield Incident(Kind.CHECK_FAILED, f"{one.table}.{one.check}", what, one.since, one.description, DOCTOR)


def _rejections(status: Status, now: datetime, before: int | None, limit: int) -> Iterator[Incident]:
    if before is not None and status.rejected_rows - before >= limit:
        what = f"{status.rejected_rows:,} rows are rejected, {before:,} a day ago"
        yield Incident(Kind.REJECTED_ROWS, "rejected_rows", what, now, "", _REJECTIONS)


def _old_releases(status: Status) -> Iterator[Incident]:
    """Most of the cohorts that have a release have one that answers may no longer use.

    A single small cohort often waits for days until enough of its members have changed (G9.3).
    """
    found = status.releases
    if found is None or found.newest is None:
        return
    if 2 * found.too_old > found.with_release:
        what = (
            f"the releases of {found.too_old:,} of {found.with_release:,} cohorts are too old for answers; the newest "
            f"of all is of {found.newest:%Y-%m-%dT%H:%MZ}"
        )
        yield Incident(Kind.RELEASE_OLD, "cohort_ghost_release", what, found.as_of, "", _RELEASES)
