"""Copies of small files of settled days in one file each, for tables of which every run reads all rows.

A year of hourly versions are 8,760 files, most of them empty, and opening them took longer than everything else in an
hour. The copies are in the cache of this machine. Their names tell the versions of the files that they were made from.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import polars as pl

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import replacing
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.hour_listing import HOUR_FILES

SMALL = 1 << 20
"""Bytes; a larger file is read itself."""
RECENT_DAYS = 3
"""Days that runs may still change: their files are read themselves."""
_FOLDER, _MONTH = "merged", len("2025-03")


def merged_files(
    root: Path, table: str, files: pl.DataFrame, rows: Callable[[Sequence[tuple[str, str]]], pl.DataFrame]
) -> Iterator[Path | tuple[str, str]]:
    """The copies and the hours of a table that together hold its rows, in the order of the hours.

    Args:
        root: the folder of the lake.
        table: an hourly table.
        files: its files, in `HOUR_FILES`, ascending.
        rows: reads the rows of some hours, as day and hour.

    """
    days = files["day"].unique().sort().to_list()
    recent, month = set(days[-RECENT_DAYS:]), days[-RECENT_DAYS:][0][:_MONTH] if days else ""
    folder = root / CACHE / table / _FOLDER
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    named = set()

    def span(row: tuple[str, str, int, int, int]) -> str:
        day, hour, size, *_ = row
        if day in recent or size > SMALL:
            return f"{day}T{hour}"
        return day if day.startswith(month) else day[:_MONTH]

    for key, group in groupby(files.select(HOUR_FILES.names()).iter_rows(), key=span):
        of_span = list(group)
        hours = [(day, hour) for day, hour, *_ in of_span]
        if "T" in key:
            yield from hours
            continue
        path = folder / f"{key}.{sha256(repr(of_span).encode()).hexdigest()[:20]}.parquet"
        named.add(path.name)
        if path.name in there or _is_written(root, path, rows(hours)):
            yield path
        else:
            yield from hours
    with suppress(OSError):
        for name in there - named:
            (folder / name).unlink(missing_ok=True)


def _is_written(root: Path, path: Path, rows: pl.DataFrame) -> bool:
    """Write a copy; False if this process may only read, or the disk is full."""
    try:
        with replacing(root) as replacements:
            rows.write_parquet(replacements.add(path), compression="zstd", compression_level=1)
    except LakeError:
        return False
    return True
