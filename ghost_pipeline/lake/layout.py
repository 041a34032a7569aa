"""The version of a lake's layout: `layout.json`, which stands beside the tables and says how their folders are named.

A lake without that file is empty or has layout 1, the one of release 0.1.
"""

import json
from pathlib import Path

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.local_files import Files

LAYOUT_FILE = "layout.json"
LAYOUT = {"version": 2, "shards": 1}
"""What this release writes. Layout 2 names folders `partition_date=2025-03-12`; layout 1 named them as columns."""
UPGRADE = "ghost-pipeline upgrade"


class OlderLayoutError(LakeError):
    """An older release has written the lake. What it has published can still be read."""


def require_current(files: Files) -> bool:
    """Require that a lake is empty or has the layout of this release; returns whether it says so.

    Raises:
        OlderLayoutError: it has an older layout.
        LakeError: it has a newer layout, or its file is damaged.

    """
    version = layout_version(files)
    if version is not None and version < LAYOUT["version"]:
        raise OlderLayoutError(
            f"{files}: is the lake of an older release (layout {version}; this one uses {LAYOUT['version']}). Stop "
            f"what still runs with that release, then run `{UPGRADE}`; the next materialize or backfill does the same",
        )
    return version is not None


def layout_version(files: Files) -> int | None:
    """The version of a lake's layout; None for an empty lake.

    Raises:
        LakeError: it has a newer layout, or its file is damaged.

    """
    found = files.located([LAYOUT_FILE])
    if not found:
        return 1 if CONTRACTS.keys() & set(files.folders("")) else None
    layout = _layout(files, found[0])
    version, shards = layout.get("version"), layout.get("shards")
    if not isinstance(version, int) or not isinstance(shards, int):
        raise _damaged(files)
    if version > LAYOUT["version"] or shards != LAYOUT["shards"]:
        raise LakeError(
            f"{files}: is the lake of a newer release (layout {version} with {shards} shards; this one reads up to "
            f"layout {LAYOUT['version']} with {LAYOUT['shards']}). Install that release, or set GHOST_DATA to another "
            f"folder",
        )
    return version


def write_layout(files: Files) -> None:
    """Say that a lake has the layout of this release.

    Raises:
        LakeError: the file cannot be written.

    """
    with files.replacing([LAYOUT_FILE]) as staging:
        staging.put(LAYOUT_FILE, f"{json.dumps(LAYOUT)}\n".encode())


def _layout(files: Files, file: Path) -> dict[str, object]:
    try:
        layout = json.loads(file.read_bytes())
    except ValueError as error:
        raise _damaged(files) from error
    if not isinstance(layout, dict):
        raise _damaged(files)
    return layout


def _damaged(files: Files) -> LakeError:
    return LakeError(f"{files}/{LAYOUT_FILE}: is damaged. Delete it and run `{UPGRADE}`, which writes it again")
