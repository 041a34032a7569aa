"""Figures of the pipeline for Prometheus, as the text file that its node exporter collects.

They are made from the status and the incidents that `status` and `alert` tell of. The server's own figures are in
`serving/metrics`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ghost_pipeline.errors import LakeError
from ghost_pipeline.monitoring.incidents import Incident, Kind
from ghost_pipeline.monitoring.status import Status


class StepTime(NamedTuple):
    """How long a table took in the newest run that built it."""

    job: str
    table: str
    seconds: float


def figures(
    found: Status | None, present: Iterable[Incident], steps: Iterable[StepTime], now: datetime
) -> CollectorRegistry:
    """All figures of this moment.

    Args:
        found: the status; None if the lake cannot be read.
        present: the incidents.
        steps: the times of the tables.
        now: the current time, aware.

    """
    registry = CollectorRegistry()

    def gauge(name: str, told: str, values: Mapping[Any, float], *labels: str) -> None:
        made = Gauge(f"ghost_{name}", told, labels, registry=registry)
        for key, value in values.items():
            (made.labels(*key) if labels else made).set(value)

    gauge("exported_timestamp_seconds", "When these figures were made", {(): now.timestamp()})
    gauge("lake_readable", "1 if the lake can be read", {(): float(found is not None)})
    by_kind = dict.fromkeys(Kind, 0)
    for one in present:
        by_kind[one.kind] += 1
    gauge("incidents", "Open incidents", {(kind.value,): float(number) for kind, number in by_kind.items()}, "kind")
    took = {(one.job, one.table): one.seconds for one in steps}
    gauge("step_seconds", "Time of a table in the newest run that built it", took, "job", "table")
    if found is None:
        return registry
    tables = found.tables.select("table", "as_of", "rows", "late").rows()
    ages = {(table,): (now - as_of).total_seconds() for table, as_of, _, _ in tables}
    gauge("table_age_seconds", "Time since the end of the newest partition", ages, "table")
    gauge("table_rows", "Rows of the newest partition", {(name,): float(rows) for name, _, rows, _ in tables}, "table")
    gauge("table_late", "1 if a table is late", {(name,): float(late) for name, _, _, late in tables}, "table")
    gauge("rejected_rows", "Rejected rows of the lake", {(): float(found.rejected_rows)})
    stale = {("hour",): float(found.stale_hours), ("month",): float(found.stale_months)}
    gauge("stale_partitions", "Partitions whose inputs changed after they were built", stale, "kind")
    ended = {run.job: run for run in reversed(found.runs)}
    failed = {(job,): float(not run.succeeded) for job, run in ended.items()}
    gauge("run_failed", "1 if the newest run of a job failed", failed, "job")
    if found.releases:
        releases = found.releases
        cohorts = releases.released + releases.suppressed
        share = releases.suppressed / cohorts if cohorts else 0.0
        gauge("release_suppressed_ratio", "Share of cohorts whose figures peers may not see", {(): share})
        if releases.newest:
            age = (now - releases.newest).total_seconds()
            gauge("release_age_seconds", "Time since the newest release of any cohort", {(): age})
    return registry


def as_text(registry: CollectorRegistry) -> str:
    """The figures in Prometheus's format."""
    return generate_latest(registry).decode()


def write_figures(registry: CollectorRegistry, file: Path) -> None:
    """Replace the file; the node exporter sees the old figures or the new ones.

    Raises:
        LakeError: it cannot be written.

    """
    # Beside it, with an end that the node exporter ignores.
    staged = file.with_name(f".{file.name}.new")
    try:
        staged.write_text(as_text(registry), encoding="utf-8")
        staged.replace(file)
    except OSError as error:
        raise LakeError(f"GHOST_METRICS_FILE: {file}: cannot be written ({error.strerror or error})") from error
