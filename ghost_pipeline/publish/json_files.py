"""Published JSON files, replaced atomically."""

import json
from collections.abc import Mapping
from typing import Any

from ghost_pipeline.contracts.benchmark_metrics import json_schema
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location

DICTIONARY_FILE, SCHEMA_FILE = DICTIONARY_FILES = ("ghost_benchmarks.json", "ghost_benchmarks.schema.json")
"""The benchmarks of the newest month in their specified form (G5.4), and the JSON Schema of that."""


STATEMENT_FILE = "privacy.json"
"""What protects people, in counts and ages."""
FILES_BESIDE = (*DICTIONARY_FILES, STATEMENT_FILE)
"""The JSON files that are published with the database."""


def publish_json(files: dict[Location, Any]) -> None:
    """Write several files that belong together; readers of each see the old or the new one, never a mix.

    Raises:
        LakeError: a file cannot be written; the previous files stay.

    """
    first = next(iter(files))
    with open_files(first.parent).replacing([]) as staging:
        for path, content in files.items():
            staging.add(path.name).write_text(_as_text(content), encoding="utf-8")


def dictionary_texts(recorded: str | None) -> dict[str, str]:
    """The texts of `DICTIONARY_FILES` by name, from what the month has recorded; none without that."""
    if recorded is None:
        return {}
    return {DICTIONARY_FILE: _as_text(json.loads(recorded)), SCHEMA_FILE: _as_text(json_schema())}


def statement_texts(statement: Mapping[str, object] | None) -> dict[str, str]:
    """The text of `STATEMENT_FILE` by its name; none without a statement."""
    return {} if statement is None else {STATEMENT_FILE: _as_text(statement)}


def _as_text(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
