"""The ledger of files with rows of practice sessions: what each held, and for which sessions its rows wait.

Such a row tells no time: it belongs to the hour in which its session starts, so a file that has not changed may still
get other hours when sessions come, move or go. The ledger is in the cache of the lake: without it everything is read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.ingest.part_ledger import UNPLACED
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA

HOURS_OF_PART = pl.Schema({"part": pl.String(), "hour": INSTANT})
"""The hours of a part's rows whose session the lake has."""
ABSENT = pl.Schema({"part": pl.String, "session_id": pl.String, "status": pl.String})
"""Sessions of a part's rows that the lake does not have, and whether the source has them as good ones.

A null session: those of erased people, whose ids are not kept. Their parts are always read.
"""
_SCHEMAS = {
    "hours": HOURS_OF_PART,
    "absent": ABSENT,
    "unplaced": UNPLACED,
    "lake": FILE_VERSION_SCHEMA,
    "sessions": FILE_VERSION_SCHEMA,
}
_PARTS = pl.Schema(
    {"part": pl.String(), "version": pl.String(), "read_as": pl.String(), "start": INSTANT, "as_of": INSTANT}
)


@dataclass(frozen=True)
class SessionLedger:
    """What is known of the parts of a table whose rows belong to practice sessions."""

    read_as: str
    """`part_ledger.read_as`"""
    versions: Mapping[str, str]
    """The version in which each part was taken in."""
    start: datetime | None
    """The lake has the rows of the hours from here on as the parts have them; None: of all hours."""
    as_of: datetime
    """The end of these hours."""
    lake: pl.DataFrame
    """The versions of the table's files in the lake."""
    sessions: pl.DataFrame
    """The versions of the files of `practice_sessions` in the lake."""
    hours: pl.DataFrame
    absent: pl.DataFrame
    unplaced: pl.DataFrame

    def parts_to_read(
        self, versions: Mapping[str, str], start: datetime, lake: pl.DataFrame, changed: pl.DataFrame, ids: pl.Series
    ) -> set[str]:
        """Return the parts that can have other rows for the hours from `start` on, or other rejected ones.

        Args:
            versions: the present version of every part.
            start: the first instant of the hours to write.
            lake: the present versions of the table's files in the lake.
            changed: the `hour` of each file of `practice_sessions` that is new, gone or another than it was.
            ids: the absent sessions whose status is no longer the one of the ledger.

        """
        too_early = self.start is not None and start < self.start
        if too_early or _unlike(lake, self.lake).height or changed.filter(pl.col("hour") < start).height:
            return set(versions)
        other = {part for part, version in versions.items() if self.versions.get(part) != version}
        wanted = self.hours.filter((pl.col("hour") >= start) | (pl.col("hour") >= self.as_of))["part"]
        waiting = self.absent.filter(pl.col("session_id").is_null() | pl.col("session_id").is_in(ids.implode()))["part"]
        return other | ({*wanted, *waiting} & set(versions))

    def is_taken_in(
        self,
        versions: Mapping[str, str],
        start: datetime,
        lake: pl.DataFrame,
        changed: pl.DataFrame,
        ids: pl.Series,
    ) -> bool:
        """Return whether no part can have another row for any hour, so that none has to be read: `parts_to_read`."""
        too_early = self.start is not None and start < self.start
        if too_early or dict(versions) != self.versions or len(ids) or _unlike(lake, self.lake).height:
            return False
        if self.absent["session_id"].null_count():
            return False
        is_ahead = pl.col("hour") >= self.as_of
        return self.hours.filter(is_ahead | pl.col("hour").is_in(changed["hour"].implode())).is_empty()

    def changed_hours(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Return the `hour` of each file of `practice_sessions` that is new, gone or another than it was."""
        return _unlike(sessions, self.sessions).select(pl.col("hour").unique())

    def of_parts(self, parts: Collection[str]) -> dict[str, pl.DataFrame]:
        """Return `hours`, `absent` and `unplaced` of some parts."""
        is_one = pl.col("part").is_in(list(parts))
        return {name: getattr(self, name).filter(is_one) for name in ("hours", "absent", "unplaced")}


def load_session_ledger(lake: Lake, contract: str, table: str, read_as: str) -> SessionLedger | None:
    """Return what the step of a table knows of a source table; None if that is nothing, or it is read otherwise now.

    Args:
        lake: the lake.
        contract: the table of the step.
        table: the source table that it has read.
        read_as: what the reading depends on besides the parts.

    """
    cache = _cache(lake, contract, table)
    parts = cache.read("parts", _PARTS)
    if parts.is_empty():
        return None
    frames = {name: cache.read(name, schema) for name, schema in _SCHEMAS.items()}
    # A damaged frame reads as one without rows.
    if parts["read_as"][0] != f"{read_as} {_counts(frames)}":
        return None
    versions = dict(parts.select("part", "version").iter_rows())
    return SessionLedger(read_as, versions, parts["start"][0], parts["as_of"][0], **frames)


def save_session_ledger(lake: Lake, contract: str, table: str, ledger: SessionLedger) -> None:
    """Replace the ledger once the rows are in the lake."""
    cache = _cache(lake, contract, table)
    frames = {name: getattr(ledger, name) for name in _SCHEMAS}
    how = f"{ledger.read_as} {_counts(frames)}"
    rows = [(part, version, how, ledger.start, ledger.as_of) for part, version in sorted(ledger.versions.items())]
    # The parts last: they make the others count.
    cache.remove("parts")
    cache.write({**frames, "parts": pl.DataFrame(rows, schema=_PARTS, orient="row")})


def forget_session_ledger(lake: Lake, contract: str, table: str) -> None:
    """Remove the ledger: rows, rejected ones too, were read from a source without known parts."""
    _cache(lake, contract, table).remove("parts")


def _cache(lake: Lake, contract: str, table: str) -> Cache:
    return Cache(lake.root, f"{contract}/of-{table}")


def _counts(frames: Mapping[str, pl.DataFrame]) -> str:
    return " ".join(str(frame.height) for frame in frames.values())


def _unlike(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    every = FILE_VERSION_SCHEMA.names()
    return pl.concat([one.join(other, on=every, how="anti"), other.join(one, on=every, how="anti")])
