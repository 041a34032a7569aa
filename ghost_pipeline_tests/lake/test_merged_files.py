"""Small files of settled days are read from copies that hold what the files hold, for every reader."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest

from ghost_pipeline.contracts import Contract
from ghost_pipeline.contracts.raw import USERS
from ghost_pipeline.lake import merged_files
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.hour_listing import HourListing
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.local_files import LocalFiles
from ghost_pipeline.lake.partitions import file_name, hour_of
from ghost_pipeline_tests.lake.days import DAYS, OLD, filled, later, some_days, write
from ghost_pipeline_tests.samples import HOUR as NEWEST
from ghost_pipeline_tests.samples import sample


def rows(lake: Lake) -> pl.DataFrame:
    return lake.scan(USERS).collect()


def rows_one_by_one(lake: Lake) -> pl.DataFrame:
    return lake.scan(USERS, lake.hours(USERS)).collect()


def copies(root: Path) -> set[Path]:
    return set((root / CACHE / USERS.name / "merged").iterdir())


def make_old(copy: Path) -> None:
    """Let a copy look as if no reader had named it for an hour."""
    last = copy.stat().st_mtime - merged_files.UNUSED_SECONDS - 60
    os.utime(copy, (last, last))


def test_versions_of_old_days_are_read_merged_in_their_order(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USERS)
    for number, hour in enumerate((OLD, OLD.next(), later(-20), NEWEST)):
        write(lake, hour, number, USERS)
    every = rows_one_by_one(lake)
    assert rows(lake).equals(every)
    assert rows(lake).equals(every), "from the copies of the first time"


def test_a_version_that_is_written_late_is_read(tmp_path: Path) -> None:
    lake = some_days(tmp_path, *range(-DAYS, 1), contract=USERS)
    before = rows(lake).height
    lake.write(USERS, OLD, sample(USERS, 5, 9))
    assert rows(lake).height == before + 2


def test_a_reader_with_an_earlier_listing_still_reads_its_copies(tmp_path: Path) -> None:
    lake = some_days(tmp_path, -40, -30, -2, -1, 0, contract=USERS)
    before, planned = rows(lake), lake.scan(USERS)
    write(lake, OLD, 9, USERS)
    assert not rows(Lake(tmp_path)).equals(before)
    assert planned.collect().equals(before)


def test_a_copy_that_is_used_stays_however_old_it_is(tmp_path: Path) -> None:
    lake = some_days(tmp_path, -40, -30, -2, -1, 0, contract=USERS)
    rows(lake)
    for copy in copies(tmp_path):
        make_old(copy)
    before, planned = rows(lake), lake.scan(USERS)
    write(lake, OLD, 9, USERS)
    rows(lake)
    assert planned.collect().equals(before)


def test_copies_that_no_reader_has_named_for_an_hour_go(tmp_path: Path) -> None:
    lake = some_days(tmp_path, -40, -30, -2, -1, 0, contract=USERS)
    rows(lake)
    before = copies(tmp_path)
    for copy in before:
        make_old(copy)
    write(lake, OLD, 9, USERS)
    rows(lake)
    assert len(copies(tmp_path)) == len(before)
    assert len(copies(tmp_path) - before) == 1


def read_all(paths: list[Path]) -> pl.DataFrame:
    return pl.read_parquet(paths, hive_partitioning=False)


def merged(
    root: Path,
    read: Callable[[list[Path]], pl.DataFrame] = read_all,
    contract: Contract = USERS,
    before_reading: Callable[[], None] = lambda: None,
) -> set[Path]:
    """The copies that are read, and made if necessary."""

    def located(hours: Sequence[tuple[str, str]]) -> list[Path]:
        before_reading()
        return [root / file_name(USERS, hour_of(*one)) for one in hours]

    files = HourListing(LocalFiles(root)).files(USERS.name)
    found = merged_files.merged_files(root, contract, files, located, read)
    return {one for one in found if isinstance(one, Path)}


def test_a_copy_is_made_of_a_bounded_number_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = some_days(tmp_path, *range(-60, 1), contract=USERS)
    every = rows_one_by_one(lake)
    monkeypatch.setattr(
        merged_files, "COPY_BYTES", 4 * max(lake.path(USERS, hour).stat().st_size for hour in lake.hours(USERS))
    )
    sizes: list[int] = []

    def read(paths: list[Path]) -> pl.DataFrame:
        sizes.append(sum(path.stat().st_size for path in paths))
        return read_all(paths)

    names = merged(tmp_path, read)
    assert 0 < max(sizes) <= merged_files.COPY_BYTES
    assert merged(tmp_path, read) == names, "the same files are cut in the same way"
    assert rows(lake).equals(every)


def test_a_copy_with_other_columns_is_not_read(tmp_path: Path) -> None:
    lake = some_days(tmp_path, -40, -30, -2, -1, 0, contract=USERS)
    rows(lake)
    before = copies(tmp_path)

    class Narrower(dy.Schema):
        """Another release of the table, without its other columns."""

        user_id = dy.String(primary_key=True)

    def read(paths: list[Path]) -> pl.DataFrame:
        return pl.read_parquet(paths, columns=["user_id"], hive_partitioning=False)

    of_other = merged(tmp_path, read, replace(USERS, schema=Narrower))
    assert of_other
    assert not of_other & before


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_copy_is_not_made_of_files_that_are_replaced_meanwhile(when: str, tmp_path: Path) -> None:
    """In a bucket the version that was listed may come back, and its copy would hold the rows of another one."""
    lake = some_days(tmp_path, -30, -2, -1, 0, contract=USERS)

    def replaced_after(paths: list[Path]) -> pl.DataFrame:
        found = read_all(paths)
        write(lake, OLD, 9, USERS)
        return found

    if when == "after":
        assert not merged(tmp_path, replaced_after)
    else:
        assert not merged(tmp_path, before_reading=lambda: write(lake, OLD, 9, USERS))
    assert len(merged(tmp_path)) == 1
    assert rows(lake).equals(rows_one_by_one(lake))
