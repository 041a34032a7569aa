"""In which hours each key of an event table has rows, so that a repeated key is found without reading all of them.

A key is kept as a hash of 64 bits beside its hour, in one sorted file for each 31 days: 12 bytes a row, 600 MB for 50 M
events. Two keys with one hash cost a needless look at the hours of both, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.ingest.part_ledger import KEY_FILES
from ghost_pipeline.lake.atomic import replacing
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.file_versions import file_version
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import FIRST_INSTANT, HOUR, Hour

_BYTES = 12
_HOURS_OF_FILE = 31 * 24
_KEYS_AT_ONCE = 1 << 24
"""Of so many keys repeats are looked for at once: 128 MB."""

Numbers = NDArray[np.int32]


def hour_number(start: datetime) -> int:
    """Return the number of an hour, counted from 1970."""
    return (start - FIRST_INSTANT) // HOUR


def hour_of_number(number: int) -> Hour:
    """Return the hour of a number."""
    return Hour(FIRST_INSTANT + number * HOUR)


@dataclass(frozen=True)
class KeyHours:
    """Hashed keys, and for each the number of an hour with a row of it."""

    keys: NDArray[np.uint64]
    hours: Numbers

    @classmethod
    def of(cls, keys: pl.Series, placed: pl.Series) -> "KeyHours":
        """Return the keys of rows and the instants that place them."""
        hours = (placed.to_physical() // (HOUR.total_seconds() * 1e6)).cast(pl.Int32)
        return cls(keys.hash().to_numpy(), hours.to_numpy())

    @classmethod
    def joined(cls, parts: Sequence["KeyHours"]) -> "KeyHours":
        """Return all of them as one."""
        nothing = cls(np.empty(0, np.uint64), np.empty(0, np.int32))
        every = [nothing, *parts]
        return cls(np.concatenate([one.keys for one in every]), np.concatenate([one.hours for one in every]))

    def where(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "KeyHours":
        """Return some of them."""
        return KeyHours(self.keys[which], self.hours[which])

    def sorted(self) -> "KeyHours":
        """Return them by key: in polars, which takes half the time of numpy's order and two gatherings."""
        rows = pl.DataFrame({"keys": self.keys, "hours": self.hours}).sort("keys")
        return KeyHours(rows["keys"].to_numpy(), rows["hours"].to_numpy())


@dataclass(frozen=True)
class KeyFiles:
    """The kept keys of a table, in files of 31 days."""

    lake: Lake
    table: str
    versions: pl.DataFrame

    @property
    def are_sound(self) -> bool:
        """Whether the files are those of the versions."""
        return all(self._version(name) == kept for name, kept in self.versions.iter_rows())

    def of_hours(self, hours: Numbers) -> KeyHours:
        """Return the kept keys of some hours."""
        files = {str(number) for number in np.unique(hours // _HOURS_OF_FILE)}
        read = (self._read(name) for name in self.versions["month"] if name in files)
        return KeyHours.joined([rows.where(np.isin(rows.hours, hours)) for rows in read])

    def elsewhere(self, keys: NDArray[np.uint64], hours: Numbers) -> KeyHours:
        """Return the kept rows of some keys in other hours."""
        wanted, found = np.unique(keys), []
        for name in self.versions["month"]:
            rows = self._read(name)
            first, end = (np.searchsorted(rows.keys, wanted, side) for side in ("left", "right"))
            counts = end - first
            hit = counts > 0
            starts = np.repeat(first[hit], counts[hit])
            within = np.arange(len(starts)) - np.repeat(np.cumsum(counts[hit]) - counts[hit], counts[hit])
            hits = rows.where(starts + within)
            found.append(hits.where(np.isin(hits.hours, hours, invert=True)))
        return KeyHours.joined(found)

    def replaced(self, hours: Numbers, new: Sequence[KeyHours]) -> pl.DataFrame:
        """Replace the keys of some hours; returns the versions of the files."""
        files: dict[int, list[KeyHours]] = {number: [] for number in np.unique(hours // _HOURS_OF_FILE).tolist()}
        for rows in new:
            numbers = rows.hours // _HOURS_OF_FILE
            for number in np.unique(numbers).tolist():
                files[number].append(rows.where(numbers == number))
        there = set(self.versions["month"])
        with replacing(self.lake.root) as replacements:
            for number, parts in files.items():
                added = KeyHours.joined(parts).sorted()
                if str(number) in there:
                    old = self._read(str(number))
                    old = old.where(np.isin(old.hours, hours, invert=True))
                    places = np.searchsorted(old.keys, added.keys)
                    added = KeyHours(np.insert(old.keys, places, added.keys), np.insert(old.hours, places, added.hours))
                with replacements.add(self._path(str(number))).open("wb") as file:
                    added.keys.tofile(file)
                    added.hours.tofile(file)
        names = sorted(there | {str(number) for number in files})
        return pl.DataFrame([(name, self._version(name)) for name in names], schema=KEY_FILES, orient="row")

    def _read(self, name: str) -> KeyHours:
        path = self._path(name)
        rows = path.stat().st_size // _BYTES
        if not rows:
            return KeyHours.joined([])
        content = np.memmap(path, np.uint8, "r")
        split = rows * np.dtype(np.uint64).itemsize
        return KeyHours(content[:split].view(np.uint64), content[split:].view(np.int32))

    def _version(self, name: str) -> str:
        return "-".join(map(str, file_version(self._path(name)) or ()))

    def _path(self, name: str) -> Path:
        return self.lake.root / CACHE / self.table / "keys" / f"{name}.bin"


def in_several_hours(rows: Sequence[KeyHours]) -> NDArray[np.uint64]:
    """Return the keys with rows in more than one hour, looking at a bounded number of them at a time."""
    parts = 1 + sum(len(one.keys) for one in rows) // _KEYS_AT_ONCE
    found = [np.empty(0, np.uint64)]
    for part in range(parts):
        some = rows if parts == 1 else [one.where(one.keys % parts == part) for one in rows]
        # polars sorts numbers in half the time of numpy: 27 ns each.
        keys = pl.Series(np.concatenate([np.empty(0, np.uint64), *(one.keys for one in some)])).sort().to_numpy()
        twice = np.unique(keys[1:][keys[1:] == keys[:-1]])
        if len(twice):
            both = KeyHours.joined([one.where(np.isin(one.keys, twice)) for one in some])
            order = np.lexsort((both.hours, both.keys))
            keys, hours = both.keys[order], both.hours[order]
            differs = (keys[1:] == keys[:-1]) & (hours[1:] != hours[:-1])
            found.append(np.unique(keys[1:][differs]))
    return np.concatenate(found)
