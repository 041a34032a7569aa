"""Which reading of the source a table was taken from last, so that no run takes an older one for newer.

A run reads a database in one snapshot, which may be hours old when it comes to a table. What another run has
read since and written would be taken away again: an event for good, once it is older than the look-back.
"""

from pathlib import Path
from uuid import uuid4

from ghost_pipeline.lake.atomic import replacing

READINGS = ".readings"


def last_read(folder: Path, table: str) -> str | None:
    """What tells the last reading of a table from those before it; None where nobody has read it yet."""
    try:
        return _path(folder, table).read_text(encoding="utf-8")
    except OSError:
        return None


def record_read(folder: Path, table: str) -> str:
    """Put down that a table is read anew; returns what `last_read` gives from now on.

    Args:
        folder: where it is put down, the same for all runs.
        table: the table; its lock is held until what was read is written.

    Raises:
        LakeError: it cannot be written.

    """
    reading = uuid4().hex
    # Not flushed: what a power cut leaves empty is no reading that any run has begun with.
    with replacing(folder, flush=False) as replacements:
        replacements.add(_path(folder, table)).write_text(reading, encoding="utf-8")
    return reading


def _path(folder: Path, table: str) -> Path:
    return folder / READINGS / table
