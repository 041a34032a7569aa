"""From the events of a Dagster run to lines of progress and the summary of the command.

Dagster hands its log to this module's logger in place of its own; what a run executes is in `run`.
"""

import time
from collections.abc import Mapping
from logging import Handler, Logger, LogRecord

import dagster as dg

from ghost_pipeline.cli.progress import Progress
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.defs.publishing import PUBLISHED_DATABASE
from ghost_pipeline.defs.table_asset import HOURS_WRITTEN, ROWS_READ, HoursWritten

LOGGER = "console"
"""The name of the logger in a run's configuration: the one that Dagster's own has, so that the UI can run it again."""
_READ, _REJECTED, _ROWS = "rows_read_in_window", "rejected_rows", "dagster/partition_row_count"
_EXTRACTED = "rows_extracted"

_LOOK_AT = {
    Partitioning.REJECTED: 'ghost-pipeline query "FROM lake.rejected_rows"',
    Partitioning.STALE_DAY: "ghost-pipeline stale",
}
"""What to run if a table of this kind has a row."""


def progress_logger(progress: Progress) -> dg.LoggerDefinition:
    """A Dagster logger that tells `progress` what a run does."""

    @dg.logger
    def logger(_context: dg.InitLoggerContext) -> Logger:
        # Not registered by name: the second run of a process would print with the first run's handler, too.
        of_run = Logger(LOGGER)  # noqa: LOG001
        of_run.addHandler(_ProgressHandler(progress))
        return of_run

    return logger


class _ProgressHandler(Handler):
    """Prints a line per table of one run."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress, self.table_since = progress, time.monotonic()
        self.written: dict[str, HoursWritten] = {}
        """What is written of the tables that take many hours, by table."""
        self.done: set[str] = set()

    def emit(self, record: LogRecord) -> None:
        if written := getattr(record, HOURS_WRITTEN, None):
            self.written[written.table] = written
            self.progress.working_on(f"{written.table}: up to {written.last}")
        if read := getattr(record, ROWS_READ, None):
            self.progress.rows(*read)
        event = getattr(record, "dagster_event", None)
        if event is None:
            return
        if event.is_step_start:
            self.progress.working_on(str(event.step_key))
        elif event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            table = materialization.asset_key.to_user_string()
            metadata = {name: value.value for name, value in materialization.metadata.items()}
            self._summarise(table, metadata)
            # Dagster sends an event for every partition of the run.
            if table not in self.done:
                self.done.add(table)
                self._print(table, metadata)

    def _summarise(self, table: str, metadata: Mapping[str, object]) -> None:
        summary = self.progress.summary
        summary.read += _number(metadata.get(_READ))
        if _READ in metadata:
            summary.rejected += _number(metadata.get(_REJECTED))
        if table == PUBLISHED_DATABASE:
            tables = [row.data for row in getattr(metadata["tables"], "records", ())]
            rows = sum(_number(row["rows"]) for row in tables)
            summary.published = {"file": str(metadata["file"]), "tables": len(tables), "rows": rows}
        if (partitioning := CONTRACTS[table].partitioning if table in CONTRACTS else None) in _LOOK_AT:
            summary.look(_LOOK_AT[partitioning], needed=bool(_number(metadata.get(_ROWS))))

    def _print(self, table: str, metadata: Mapping[str, object]) -> None:
        if written := self.written.get(table):
            name, shown = f"{table} ({written.hours} hours)", f"{written.rows:>10,} rows"
        else:
            # Extracted rows are not rows of the source.
            rows = metadata.get(_EXTRACTED) or metadata.get(_READ, metadata.get(_ROWS))
            unit = "read" if _READ in metadata and not metadata.get(_EXTRACTED) else "rows"
            name, shown = table, " " * 15 if rows is None else f"{_number(rows):>10,} {unit}"
        seconds, self.table_since = time.monotonic() - self.table_since, time.monotonic()
        self.progress.say(f"  {name:<30}{shown}{seconds:7.1f} s")
        self.progress.working_on(f"after {table}")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
