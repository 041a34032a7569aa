"""The ledger of the parts of a source table: which files were taken in, in which version, and what they held.

A run reads new and changed parts, and unchanged ones only for hours that something else has changed. The ledger is in
the cache of the lake: without it everything is read. Of rows it holds the users that rejected ones wait for and, whole,
the rejected ones that tell no hour; an erasure removes it with the cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import polars as pl

from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.sources.source import Source

READ_AS = 2
"""Raise it when the same source gives other rows than before: everything is then read again."""
PART_HOURS = pl.Schema({"part": pl.String(), "hour": INSTANT, "rows": pl.Int64(), "content_hash": pl.UInt64()})
"""The rows of a part in an hour; a null hour: rows that tell none."""
UNPLACED = pl.Schema({"part": pl.String, "reason": pl.String, "row": pl.String})
"""Rejected rows that tell no hour, as `rejected_rows` keeps them."""
WAITING = pl.Schema({"part": pl.String(), "hour": INSTANT, "user_id": pl.String()})
"""Unknown users whose rows were rejected; `part` only where the row tells no hour."""
PENDING = pl.Schema({"hour": INSTANT})
KEY_FILES = pl.Schema({"month": pl.String, "file_version": pl.String})
_SCHEMAS = {
    "hours": PART_HOURS,
    "unplaced": UNPLACED,
    "waiting": WAITING,
    "pending": PENDING,
    "lake": FILE_VERSION_SCHEMA,
    "keys": KEY_FILES,
}
_PARTS = pl.Schema([(name, pl.String()) for name in ("part", "version", "read_as", "counts")])


@dataclass(frozen=True)
class PartLedger:
    """What is known of a table's parts."""

    versions: dict[str, str] = field(default_factory=dict)
    """The version in which each part was taken in."""
    hours: pl.DataFrame = field(default_factory=PART_HOURS.to_frame)
    unplaced: pl.DataFrame = field(default_factory=UNPLACED.to_frame)
    waiting: pl.DataFrame = field(default_factory=WAITING.to_frame)
    pending: pl.DataFrame = field(default_factory=PENDING.to_frame)
    """Hours that were not written yet, although a part has other rows for them: they had not ended."""
    lake: pl.DataFrame = field(default_factory=FILE_VERSION_SCHEMA.to_frame)
    """The versions of the table's files in the lake."""
    keys: pl.DataFrame = field(default_factory=KEY_FILES.to_frame)
    """The versions of the files of the table's keys."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return bool(self.versions)


NOTHING_KNOWN = PartLedger()


def read_as(source: Source, table: SourceTable, *settings: object) -> str:
    """Return what rows depend on besides the parts: where these are, the settings, and the code that reads."""
    return sha256(repr((READ_AS, pl.__version__, source.identity, table, *settings)).encode()).hexdigest()


def load_ledger(lake: Lake, table: str, read_as: str) -> PartLedger:
    """Return the ledger of a table; `NOTHING_KNOWN` if it is missing, damaged or of rows that were read otherwise.

    Args:
        lake: the lake.
        table: the source table.
        read_as: what the reading depends on besides the parts.

    """
    cache = Cache(lake.root, table)
    parts = cache.read("parts", _PARTS)
    if parts.is_empty() or parts["read_as"][0] != read_as:
        return NOTHING_KNOWN
    frames = {name: cache.read(name, schema) for name, schema in _SCHEMAS.items()}
    if _counts(frames) != parts["counts"][0]:
        return NOTHING_KNOWN
    return PartLedger(dict(parts.select("part", "version").iter_rows()), **frames)


def forget_ledger(lake: Lake, table: str) -> None:
    """Remove the ledger before rows change: if the run is killed, everything is read again."""
    Cache(lake.root, table).remove("parts")


def save_ledger(lake: Lake, table: str, read_as: str, ledger: PartLedger) -> None:
    """Replace the ledger of a table once its rows are in the lake."""
    forget_ledger(lake, table)
    frames = {name: getattr(ledger, name) for name in _SCHEMAS}
    rows = [(part, version, read_as, _counts(frames)) for part, version in sorted(ledger.versions.items())]
    # The parts last: they make the others count.
    Cache(lake.root, table).write({**frames, "parts": pl.DataFrame(rows, schema=_PARTS, orient="row")})


def _counts(frames: Mapping[str, pl.DataFrame]) -> str:
    """Return the numbers of rows: a damaged frame reads as one without rows."""
    return " ".join(str(frame.height) for frame in frames.values())
