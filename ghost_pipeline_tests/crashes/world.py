"""A source of a few learners and typists that changes between runs, and the steps of an hour over it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.history_files import history_files
from ghost_pipeline.publish.private_copies import private_copies
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.running import published_rows

Row = dict[str, Any]
DAY = "2025-03-12"
_TABLES = {one.contract.name: one for one in TABLE_ASSETS}
LEARNERS = 12


@dataclass(frozen=True)
class World:
    """A folder with a source and what is made of it."""

    folder: Path

    @property
    def data(self) -> Path:
        """What runs write."""
        return self.folder / "data"

    def resources(self, **values: object) -> RunContext:
        """Settings and lake as a new process has them."""
        settings = Settings.load(source=str(self.folder / "source"), data=self.data, **values)
        return RunContext.of(settings)

    def write(self, **tables: Sequence[Row]) -> None:
        """Write tables of the source in place of those before."""
        folder = self.folder / "source"
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in tables.items():
            columns = dict.fromkeys(column.name for column in SOURCE_TABLES[name].columns)
            text = "".join(json.dumps({**columns, **row}) + "\n" for row in rows)
            (folder / f"{name}.ndjson").write_text(text, encoding="utf-8")

    def run(self, hour: str, *tables: str, **values: object) -> None:
        """Run the steps of some tables for an hour, in their order."""
        resources = self.resources(**values)
        for name in tables:
            compute_one(_TABLES[name].compute, resources, Hour.from_key(hour))

    def run_range(self, hours: Sequence[Hour], *tables: str, **values: object) -> None:
        """Run steps for hours that are computed together."""
        resources = self.resources(**values)
        for name in tables:
            list(_TABLES[name].compute(resources, hours))

    def run_month(self, month: str, *tables: str, **values: object) -> None:
        """Run the steps of some tables for a month."""
        resources = self.resources(**values)
        for name in tables:
            compute_one(_TABLES[name].compute, resources, Month.from_key(month))

    def publish(self) -> None:
        """Build the published database."""
        resources = self.resources()
        publish(resources.lake, resources.settings.database)

    def state(self) -> dict[str, str]:
        """Every file that counts, by its path, with the hash of its bytes; the published database is not among them.

        Nor is `publication.json`, which has the hash of that: the same rows may be written in other blocks.
        """
        files = [*self.data.glob("lake/[!.]*/**/*.parquet"), *self.data.glob("ghost_benchmarks*.json")]
        return {
            str(file.relative_to(self.data)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)
        }

    def published(self) -> dict[str, list[tuple[object, ...]]] | None:
        """Every row of every published table; None before the first publication."""
        return published_rows(self.data) if (self.data / "ghost.duckdb").exists() else None

    def leftovers(self) -> list[str]:
        """Files that are of use to nobody."""
        # Those beside the lake are removed by the next publication.
        is_published = (self.data / "ghost.duckdb").exists()
        folder = self.data if is_published else self.data / "lake"
        named = {self.data / one.file for one in history_files(self.data / "ghost.duckdb")} if is_published else set()
        histories = self.data.glob("history/**/*.parquet") if is_published else ()
        copies = [one.path for one in private_copies(self.data)[1:]]
        return [str(file) for file in [*folder.rglob("*.tmp*"), *histories, *copies] if file not in named]


Act = Callable[[World], None]


def users(number: int = LEARNERS, **changes: Row) -> list[Row]:
    """Learners; of some, by id, other values."""
    rows = [
        {
            "user_id": f"u{n:02}",
            "cohort_id": "c1",
            "created_at": "2025-01-01T00:00:00Z",
            "target_band": 7.5,
            "timezone": "UTC",
            "diagnostic_score": 6.0,
            "final_band_score": 7.5,
        }
        for n in range(number)
    ]
    return [{**row, **changes.get(str(row["user_id"]), {})} for row in rows]


def event(name: str, user: int, at: str, **values: object) -> Row:
    """A completed task on the day that all of this is about, or at a whole instant."""
    instant = at if "T" in at else f"{DAY}T{at}:00Z"
    row = {"progress_id": name, "user_id": f"u{user:02}", "task_type": "reading", "completed_at": instant}
    return {**row, "time_spent_minutes": 10, **values}


def session(name: str, at: str, typist: int = 0) -> Row:
    """A practice session of a typist."""
    instant = f"{DAY}T{at}:00Z"
    ids = {"session_id": name, "user_id": f"u{typist:02}", "keyboard_id": f"k{typist}"}
    return {**ids, "start_time": instant, "end_time": instant}


def keystrokes(name: str, text: str, step: int = 1) -> list[Row]:
    """What was typed in a session, all of it right, a key every so many seconds."""
    return [
        {
            "session_id": name,
            "key_index": index,
            "keystroke_time": f"2025-03-12T00:00:{index * step:02}Z",
            "keystroke_char": char,
            "expected_char": char,
            "text_index": index,
        }
        for index, char in enumerate(text)
    ]
