"""Progress of a run: a line for every table that Dagster materializes, instead of its event log.

Reads Dagster's events and `HourWritten` records; what a run executes is in `run`.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from logging import Handler, Logger, LogRecord
from typing import TextIO

import dagster as dg

from ghost_pipeline.defs.table_asset import HOUR_WRITTEN

PROGRESS = "progress"
"""The name of the logger in a run's configuration."""
SECONDS_OF_SILENCE = 3.0
"""After this long, a run over many hours says which hour it has reached."""


def progress_logger(out: TextIO) -> dg.LoggerDefinition:
    """A Dagster logger that prints progress to `out`."""

    @dg.logger
    def progress(_context: dg.InitLoggerContext) -> Logger:
        # Not registered by name: the second run of a process would print with the first run's handler, too.
        logger = Logger(PROGRESS)  # noqa: LOG001
        logger.addHandler(_ProgressHandler(out))
        return logger

    return progress


class _ProgressHandler(Handler):
    """Prints a line per table of one run; while a table takes many hours, also its hour every few seconds."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self.out, self.table_since, self.printed = out, time.monotonic(), time.monotonic()
        self.rows: defaultdict[str, dict[str, int]] = defaultdict(dict)
        """Rows by hour of the tables that take many hours, by table."""
        self.done: set[str] = set()

    def emit(self, record: LogRecord) -> None:
        if written := getattr(record, HOUR_WRITTEN, None):
            self.rows[written.table][written.hour] = written.rows
            if time.monotonic() - self.printed > SECONDS_OF_SILENCE:
                self._write(f"    {written.table} {written.hour}")
        event = getattr(record, "dagster_event", None)
        if event is not None and event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            table = materialization.asset_key.to_user_string()
            # Dagster sends an event for every partition of the run.
            if table not in self.done:
                self.done.add(table)
                self._write_table(table, {name: value.value for name, value in materialization.metadata.items()})

    def _write_table(self, table: str, metadata: Mapping[str, object]) -> None:
        hours = self.rows.get(table)
        if hours:
            name, shown = f"{table} ({len(hours)} hours)", f"{sum(hours.values()):>10,} rows"
        else:
            rows = metadata.get("rows_read_in_window", metadata.get("dagster/partition_row_count"))
            unit = "read" if "rows_read_in_window" in metadata else "rows"
            name, shown = table, " " * 15 if rows is None else f"{rows:>10,} {unit}"
        seconds, self.table_since = time.monotonic() - self.table_since, time.monotonic()
        self._write(f"  {name:<30}{shown}{seconds:7.1f} s")

    def _write(self, line: str) -> None:
        self.out.write(f"{line}\n")
        self.out.flush()
        self.printed = time.monotonic()
