"""The last source snapshot that each table was loaded from, so that no run overwrites newer data with an older one.

A run reads a database in one snapshot, which may be hours old when it reaches a table. Writing it would remove rows
that another run has read and written since: for good, once they are older than the look-back.
"""

from pathlib import Path
from uuid import uuid4

from ghost_pipeline.lake.atomic import replacing

SOURCE_READS = ".readings"


def last_read(folder: Path, table: str) -> str | None:
    """Return the token of the last read of a table; None if it was never read."""
    try:
        return _path(folder, table).read_text(encoding="utf-8")
    except OSError:
        return None


def record_read(folder: Path, table: str) -> str:
    """Record that a table is being read; returns the token that `last_read` gives from now on.

    Args:
        folder: the folder of the tokens, the same for all runs.
        table: the table; its lock is held until the rows read are written.

    Raises:
        LakeError: it cannot be written.

    """
    token = uuid4().hex
    # Not flushed: a token that a power cut leaves empty is one that no run has started with.
    with replacing(folder, flush=False) as replacements:
        replacements.add(_path(folder, table)).write_text(token, encoding="utf-8")
    return token


def _path(folder: Path, table: str) -> Path:
    return folder / SOURCE_READS / table
