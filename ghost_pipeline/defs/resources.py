"""The three resources of the code location, and the `RunContext` that compute functions get from them.

Here is what a run shares: its settings, its lake, its source. What a table is computed from is in its asset's module;
how a source or a lake is read is in `sources/` and `lake/`.

They are plain resource definitions. A `ConfigurableResource` would show its fields in the UI and keep them in the
records of runs, a database's password among them, and `Settings` has validated them already.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import dagster as dg

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.incremental.contract_changes import open_current
from ghost_pipeline.ingest.result import OnRows, silent
from ghost_pipeline.ingest.source_reads import last_read, record_read
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Source
from ghost_pipeline.windows import Hour


class RunSource:
    """The source of one run: opened by the first table that reads it, shared by all, closed when the run ends.

    Of a database, all tables of a run are read in one snapshot.
    """

    def __init__(self, settings: Settings, lake: Lake) -> None:
        """Open nothing yet: most runs compute from the lake alone."""
        self._settings, self._locks = settings, lake.root
        self._opened: Source | None = None
        # The newest read of each table that is not newer than the source as it was opened.
        self._reads: dict[str, str | None] = {}

    def open(self) -> Source:
        """Return the source of `GHOST_SOURCE`; it stays open for the tables that follow.

        Raises:
            SourceError: none is set, or it cannot be read.

        """
        if self._opened is None:
            self._reads = {name: last_read(self._locks, name) for name in SOURCE_TABLES}
            self._opened = open_source(self._settings.source, self._settings.source_mapping)
        return self._opened

    @contextmanager
    def exclusive_read(self, table: Contract) -> Iterator[Source]:
        """Let one run at a time read a table of the source, compare it with the lake and write it.

        The source of the block is not older than the lake's rows of the table: if another run has read the table
        since this one opened a database, the database is opened again, in a new snapshot.

        Raises:
            LakeError: another run holds the table for too long.
            SourceError: the source cannot be opened again.

        """
        with table_lock(self._locks, table.name):
            if self._opened and self._reads[table.name] != last_read(self._locks, table.name):
                self.close()
            source = self.open()
            self._reads[table.name] = record_read(self._locks, table.name)
            yield source

    def close(self) -> None:
        """Close the source if it is open."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()


@dataclass(frozen=True)
class RunContext:
    """What a compute function gets: the settings, the lake, the source, and how far the run's range reaches."""

    settings: Settings
    lake: Lake
    source: RunSource
    range_end: Hour | None = None
    """The last hour of a range that one run, or several in a row, compute; None for a run of a single hour."""
    on_rows: OnRows = silent
    """Is called while a table of the source is read."""

    @classmethod
    def of(cls, settings: Settings, lake: Lake | None = None, range_end: Hour | None = None) -> "RunContext":
        """Return the context of a run outside Dagster; its source is its own."""
        lake = lake or Lake(settings.lake)
        return cls(settings, lake, RunSource(settings, lake), range_end)


def build_resources(settings: Settings) -> dict[str, object]:
    """Return the resources by the names of the parameters that ask for them; each run has its own lake and source."""

    # An instance for each run: opening a lake clears what killed runs have left.
    @dg.resource(description="The Parquet lake (GHOST_DATA), opened once per run")
    def lake(context: dg.InitResourceContext) -> Lake:
        return open_current(settings.lake, (context.log or dg.get_dagster_logger()).info)

    @dg.resource(
        description="The source (GHOST_SOURCE), opened when a run first reads it", required_resource_keys={"lake"}
    )
    def source(context: dg.InitResourceContext) -> Iterator[RunSource]:
        with closing(RunSource(settings, context.resources.lake)) as of_run:
            yield of_run

    return {
        "settings": dg.ResourceDefinition.hardcoded_resource(settings, "The validated settings (GHOST_…)"),
        "lake": lake,
        "source": source,
    }
