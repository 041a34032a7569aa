"""Copies of small files of settled days in one file each, for tables of which every run reads all rows.

A year of hourly versions are 8,760 files, most of them empty, and opening them took longer than everything else in an
hour. The copies are in the cache of this machine. Their names tell what they were made of: the versions of the files,
and the columns of the table.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import replacing
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.file_versions import FileVersion, file_versions
from ghost_pipeline.lake.hour_listing import HOUR_FILES

SMALL = 1 << 20
"""Bytes; a larger file is read itself."""
COPY_BYTES = 16 << 20
"""Bytes of the files of one copy, which are in memory together when it is made."""
RECENT_DAYS = 3
"""Days that runs may still change: their files are read themselves."""
UNUSED_SECONDS = 3600
"""A copy that no reader has named for so long is removed. Until then a reader with an earlier listing may open it."""
COPIED_AS = 1
"""Raise it when a copy of the same files holds other rows than before."""
_FOLDER, _MONTH = "merged", len("2025-03")


class _File(NamedTuple):
    """One of `HOUR_FILES`."""

    day: str
    hour: str
    size: int
    changed_ns: int
    number: int


def merged_files(
    root: Path,
    contract: Contract,
    files: pl.DataFrame,
    located: Callable[[Sequence[tuple[str, str]]], list[Path]],
    read: Callable[[list[Path]], pl.DataFrame],
) -> Iterator[Path | tuple[str, str]]:
    """The copies and the hours of a table that together hold its rows, in the order of the hours.

    Args:
        root: the folder of the lake.
        contract: an hourly table.
        files: its files, in `HOUR_FILES`, ascending.
        located: the paths of the files of some hours, as day and hour, that can be read now.
        read: the rows of some of these files.

    """
    folder = root / CACHE / contract.name / _FOLDER
    columns = [(name, str(dtype)) for name, dtype in contract.polars_schema.items()]
    named = set()
    for name, of_span in _spans(files):
        hours = [(one.day, one.hour) for one in of_span]
        if not name:
            yield from hours
            continue
        made_of = repr((COPIED_AS, columns, [tuple(one) for one in of_span]))
        path = folder / f"{name}.{sha256(made_of.encode()).hexdigest()[:20]}.parquet"
        named.add(path.name)
        if _is_used(path) or _is_written(root, path, _rows(of_span, located(hours), read)):
            yield path
        else:
            yield from hours
    _remove_unused(folder, named)


def _spans(files: pl.DataFrame) -> Iterator[tuple[str, list[_File]]]:
    """Cut files into those of one copy, with the beginning of its name; files that are read themselves have none."""
    days = files["day"].unique().sort().to_list()
    recent, month = set(days[-RECENT_DAYS:]), days[-RECENT_DAYS:][0][:_MONTH] if days else ""

    def name(file: _File) -> str:
        if file.day in recent or file.size > SMALL:
            return ""
        return file.day if file.day.startswith(month) else file.day[:_MONTH]

    for key, of_key in groupby(map(_File._make, files.select(HOUR_FILES.names()).iter_rows()), key=name):
        some: list[_File] = []
        room = COPY_BYTES
        for file in of_key:
            if some and file.size > room:
                yield key, some
                some, room = [], COPY_BYTES
            some.append(file)
            room -= file.size
        yield key, some


def _is_used(path: Path) -> bool:
    """Whether a copy is there; it then stays for another hour."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:
        # A process that may only read.
        return path.exists()
    return True


def _rows(of_span: list[_File], paths: list[Path], read: Callable[[list[Path]], pl.DataFrame]) -> pl.DataFrame | None:
    """The rows of files; None if one is no longer, or was not all the time, in the version that was listed."""
    before = file_versions(paths)
    if len(before) < len(of_span) or not all(map(_is_listed, before, of_span)):
        return None
    rows = read(paths)
    return rows if file_versions(paths) == before else None


def _is_listed(now: FileVersion | None, listed: _File) -> bool:
    # An object has no inode, so its copy on this machine may have any.
    same = now is not None and (now.size, now.changed_ns) == (listed.size, listed.changed_ns)
    return same and listed.number in {0, now and now.number}


def _is_written(root: Path, path: Path, rows: pl.DataFrame | None) -> bool:
    """Write a copy; False if there are no rows for it, this process may only read, or the disk is full."""
    if rows is None:
        return False
    try:
        with replacing(root) as replacements:
            rows.write_parquet(replacements.add(path), compression="zstd", compression_level=1)
    except LakeError:
        return False
    return True


def _remove_unused(folder: Path, named: set[str]) -> None:
    with suppress(OSError):
        oldest = wall_clock().timestamp() - UNUSED_SECONDS
        for copy in list(os.scandir(folder)):
            if copy.name not in named and copy.stat().st_mtime < oldest:
                Path(copy.path).unlink(missing_ok=True)
