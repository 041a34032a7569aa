"""Reads what is published and what the lake has, over and over, until it is told to stop; every fault is one line.

An app that reads beside the runs: it opens the published database, asks for a learner, and counts every table of the
lake by SQL.
"""

import sys
import time
from pathlib import Path

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.errors import NothingPublishedError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings

PAUSE = 0.3


def look(settings: Settings, reader: GhostReader, learner: str) -> None:
    """Look at everything once; each table has the rows that `table_info` says, and they fulfil its contract."""
    database = settings.database
    try:
        published = PublishedDatabase.open(database)
    except NothingPublishedError:
        return
    for table, rows in published.table_info().select("table", "rows").iter_rows():
        found = published.rows(CONTRACTS[table])
        if found.height != rows:
            raise AssertionError(f"{table}: {found.height} rows, and table_info says {rows}")
        CONTRACTS[table].require(found, "published")
    reader.ghost_data(learner, extended=True)
    reader.messages(learner, "daily_dashboard")
    counts = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS n FROM lake.{name}" for name in CONTRACTS)  # noqa: S608 - our own names
    query(counts, database, Lake(settings.lake))


def look_until(stop: Path, learner: str) -> None:
    """Look at the data folder of the settings until the file `stop` is there; print how often, and what went wrong."""
    settings, looked = Settings.load(), 0
    reader = GhostReader(settings)
    while not stop.exists():
        try:
            look(settings, reader, learner)
        except Exception as error:  # noqa: BLE001 - told to whoever reads the output
            print(f"fault: {type(error).__name__}: {' '.join(str(error).split())}", flush=True)  # noqa: T201
        looked += 1
        time.sleep(PAUSE)
    print(f"looked {looked}", flush=True)  # noqa: T201


if __name__ == "__main__":
    look_until(Path(sys.argv[1]), sys.argv[2])
