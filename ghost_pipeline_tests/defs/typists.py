"""A source of one typist that a test changes between runs."""

import json
from datetime import datetime
from pathlib import Path

from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts.raw import REJECTED_ROWS, SESSION_KEYSTROKES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import Compute
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one

Row = dict[str, object]


class Typist:
    """A source of one typist, as tables that a test writes into."""

    def __init__(self, folder: Path) -> None:
        """Begin with a user and a keyboard."""
        self.folder = folder / "source"
        self.folder.mkdir()
        self.tables: dict[str, list[Row]] = {
            "users": [{"user_id": "u1", "created_at": "2025-01-01"}],
            "keyboards": [{"keyboard_id": "k1", "user_id": "u1"}],
            "practice_sessions": [],
            "session_keystrokes": [],
        }
        settings = Settings.load(source=str(self.folder), data=folder / "data")
        self.resources = RunContext.of(settings)

    @property
    def lake(self) -> Lake:
        """Where the runs write."""
        return self.resources.lake

    def session(self, name: str, start: str, text: str = "ab", **values: object) -> None:
        """Add a session with the keystrokes of a text."""
        row = {"session_id": name, "user_id": "u1", "keyboard_id": "k1", "start_time": start, "end_time": start}
        self.tables["practice_sessions"].append({**row, **values})
        self.typed(name, text)

    def typed(self, session: str, text: str) -> None:
        """Add the keystrokes of a text, typed right."""
        for index, char in enumerate(text):
            self.key(session, index, char)

    def measured(self, session: str, text: str, milliseconds: float) -> None:
        """Add a measured n-gram of the application's own."""
        row: Row = {"session_id": session, "ngram_text": text, "ngram_size": len(text)}
        self.tables.setdefault("session_ngram_speed", []).append({**row, "ms_per_keystroke": milliseconds})

    def key(self, session: str | None, index: int, char: str | None) -> None:
        """Add a keystroke."""
        row: Row = {"session_id": session, "key_index": index, "keystroke_time": f"2025-03-12T00:00:0{index}Z"}
        row |= {"keystroke_char": char, "expected_char": char, "text_index": index}
        self.tables["session_keystrokes"].append(row)

    def run(self, hour: str) -> None:
        """Write the tables and run every step of the domain for an hour."""
        self.write()
        self.run_steps(hour)

    def write(self) -> None:
        """Write the tables in place of those before."""
        for file in self.folder.iterdir():
            file.unlink()
        for name, rows in self.tables.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.folder / f"{name}.ndjson").write_text(text, encoding="utf-8")

    def run_steps(self, hour: str) -> None:
        """Run every step of the domain for an hour."""
        wanted = selection({Domain.NGRAMS}, monthly=False)
        for asset in TABLE_ASSETS:
            if asset.contract.name in wanted:
                compute_one(asset.compute, self.resources, Hour.from_key(hour))

    @staticmethod
    def compute(table: str) -> Compute:
        """The step of a table."""
        return next(asset.compute for asset in TABLE_ASSETS if asset.contract.name == table)

    def sessions_of_keys(self) -> list[str]:
        """The sessions whose keystrokes the lake has."""
        return self.lake.scan(SESSION_KEYSTROKES).collect()["session_id"].unique().sort().to_list()

    def rejected(self) -> list[tuple[str, datetime | None, str]]:
        """Table, hour and reason of what was set aside."""
        return self.lake.scan(REJECTED_ROWS).select("source_table", "hour", "reason").collect().rows()
