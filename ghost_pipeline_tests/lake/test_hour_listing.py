"""What is remembered of settled days is what a listing finds, whoever writes, removes, copies or kills."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts import Contract
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.cache import CACHE, Cache
from ghost_pipeline.lake.hour_listing import CHANGES, CHECKED_DAYS, SETTLED_DAYS, HourListing
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.local_files import LocalFiles
from ghost_pipeline.lake.locking import table_lock_if_free
from ghost_pipeline.lake.partitions import file_name
from ghost_pipeline.windows import DAY, HOUR, Hour
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.lake.days import DAYS, OLD, fill, filled, later, some_days, write
from ghost_pipeline_tests.samples import HOUR as NEWEST


def listed(lake: Lake, contract: Contract = USER_PROGRESS) -> list[tuple[object, ...]]:
    """The files of a table as the lake tells them, ascending."""
    return lake.file_versions_of(contract).sort("hour").rows()


def found(root: Path, contract: Contract = USER_PROGRESS) -> list[tuple[object, ...]]:
    """The same as a lake tells them that remembers nothing."""
    shutil.rmtree(root / CACHE, ignore_errors=True)
    return listed(Lake(root), contract)


def versions(lake: Lake) -> dict[datetime, int]:
    """The versions of the hours of a table."""
    return dict(lake.file_versions_of(USER_PROGRESS).iter_rows())


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the calls that ask the file system."""
    calls: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for name in ("stat", "scandir", "listdir", "open"):
            original = getattr(os, name)

            def counting(*args: object, original: object = original, name: str = name, **named: object) -> object:
                calls[name] += 1
                return original(*args, **named)  # type: ignore[operator]

            patch.setattr(os, name, counting)
        yield calls


@examples(10, 100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "remove", "list", "other"]), st.integers(0, 30), st.integers(0, 9)),
        max_size=12,
    )
)
def test_two_processes_list_what_is_there(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        one = filled(root, 0)
        for day in range(0, 31, 2):
            write(one, Hour(NEWEST.start - day * DAY))
        other = Lake(root)
        for what, days, seed in steps:
            hour = Hour(NEWEST.start - days * DAY)
            match what:
                case "write":
                    write(one, hour, seed)
                case "remove":
                    other.remove(USER_PROGRESS, hour)
                case "list":
                    listed(one)
                case _:
                    listed(other)
        told = listed(one), listed(other)
        assert told == (expected := found(root), expected)


def test_an_hour_replaced_by_another_process_has_another_version(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    before = listed(lake)
    write(Lake(tmp_path), OLD)
    after = listed(lake)
    assert {hour for hour, _ in set(after) ^ set(before)} == {OLD.start}


def test_a_month_is_not_remembered_while_its_change_goes_on(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    with HourListing(LocalFiles(tmp_path)).changing(USER_PROGRESS.name, [OLD.date.isoformat()]):
        listed(lake)
        (tmp_path / file_name(USER_PROGRESS, OLD)).unlink()
        # As after a kill: nothing tells that the change has ended.
        assert OLD.start not in {hour for hour, _ in listed(Lake(tmp_path))}


def test_a_second_change_of_settled_days_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    filled(tmp_path, DAYS, USER_PROGRESS)
    with (
        HourListing(LocalFiles(tmp_path)).changing(USER_PROGRESS.name, [OLD.date.isoformat()]),
        table_lock_if_free(tmp_path, f"{USER_PROGRESS.name}{CHANGES}") as is_held,
    ):
        assert not is_held
    with table_lock_if_free(tmp_path, f"{USER_PROGRESS.name}{CHANGES}") as is_held:
        assert is_held


def test_an_hour_restored_by_hand_is_seen_once_its_table_is_listed_again(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    file = tmp_path / file_name(USER_PROGRESS, OLD)
    content = file.read_bytes()
    lake.remove(USER_PROGRESS, OLD)
    listed(lake)
    file.parent.mkdir()
    file.write_bytes(content)
    lake.list_again(USER_PROGRESS)
    assert OLD in lake.hours(USER_PROGRESS)


def test_recent_days_are_not_marked(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    write(lake, Hour(NEWEST.start - (SETTLED_DAYS - 2) * DAY))
    assert not (tmp_path / CHANGES).exists()


@pytest.mark.parametrize("first", [-20, -2], ids=["beside a settled day", "alone"])
def test_an_hour_that_settles_while_it_is_replaced_is_seen(first: int, tmp_path: Path) -> None:
    """Another writer adds days meanwhile, and a reader remembers the hour as it was."""
    lake = some_days(tmp_path, -20, -2, 0)
    reader = Lake(tmp_path)
    days = [later(first).date.isoformat(), later(-2).date.isoformat()]
    with HourListing(LocalFiles(tmp_path)).changing(USER_PROGRESS.name, days):
        write(lake, later(30))
        listed(reader)
        (tmp_path / file_name(USER_PROGRESS, later(-2))).unlink()
    assert later(-2).start not in {hour for hour, _ in listed(reader)}


def _failing_change(lake: Lake, newest: int) -> None:
    with HourListing(LocalFiles(lake.root)).changing(USER_PROGRESS.name, [later(0).date.isoformat()]):
        if newest > 0:
            write(lake, later(newest))
        else:
            shutil.rmtree(lake.path(USER_PROGRESS, later(0)).parent.parent)
        raise KeyError


@pytest.mark.parametrize("newest", [30, -20], ids=["days were added", "days were removed"])
def test_a_change_that_fails_is_marked_as_one_that_succeeds(newest: int, tmp_path: Path) -> None:
    lake = some_days(tmp_path, -60, -30, -20, 0)
    with pytest.raises(KeyError):
        _failing_change(lake, newest)
    assert [*(tmp_path / CHANGES / USER_PROGRESS.name).iterdir()]


def test_nothing_is_remembered_of_days_that_were_recent_again(tmp_path: Path) -> None:
    """The newest days are removed; an hour that is then recent is changed without a mark; days are added again."""
    lake = some_days(tmp_path, -60, -2, 0, 30)
    reader = Lake(tmp_path)
    listed(reader)
    lake.remove(USER_PROGRESS, later(30))
    write(lake, later(-2), 2)
    write(lake, later(30))
    assert listed(reader) == found(tmp_path)


@pytest.mark.parametrize("name", ["other=unknown", "{key}=zzz", "{key}=20250312", "{key}="])
def test_a_folder_that_is_no_day_changes_nothing(name: str, tmp_path: Path) -> None:
    lake = some_days(tmp_path, -60, -40, 0)
    folder = name.format(key=USER_PROGRESS.partitioning.keys[0])
    shutil.copytree(lake.path(USER_PROGRESS, later(0)).parent.parent, tmp_path / USER_PROGRESS.name / folder)
    reader = Lake(tmp_path)
    before = listed(reader)
    write(lake, later(-40), 2)
    after = listed(reader)
    assert {hour for hour, _ in set(after) ^ set(before)} == {later(-40).start}
    assert (tmp_path / CHANGES).exists(), "the change of a settled day is marked"
    assert lake.newest_hour(USER_PROGRESS) == later(0)
    assert lake.first_hour(USER_PROGRESS) == later(-60)


@pytest.mark.parametrize("hours", [0, 1, 6, 24])
def test_every_settled_day_is_checked_whatever_the_rhythm_of_runs(hours: int, tmp_path: Path) -> None:
    lake = some_days(tmp_path, *range(1 - SETTLED_DAYS - 3 * CHECKED_DAYS, 1))
    listed(lake)
    newest = NEWEST
    for changed in range(0, 3 * CHECKED_DAYS, 7):
        hour = lake.hours(USER_PROGRESS)[changed]
        before = versions(lake)[hour.start]
        os.utime(lake.path(USER_PROGRESS, hour), ns=(0, changed))
        # Each run may add a day.
        for _ in range(len(lake.hours(USER_PROGRESS)) // (CHECKED_DAYS - 1) + 1):
            newest = Hour(newest.start + hours * HOUR)
            fill(tmp_path, newest)
            now = versions(Lake(tmp_path))
        assert now[hour.start] != before


def test_a_copied_lake_has_its_own_versions(tmp_path: Path) -> None:
    listed(filled(tmp_path / "lake", DAYS, USER_PROGRESS))
    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    assert listed(Lake(tmp_path / "copy")) == found(tmp_path / "copy")


def test_a_file_removed_by_hand_is_named_when_it_is_to_be_read(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    listed(lake)
    (tmp_path / file_name(USER_PROGRESS, OLD)).unlink()
    with pytest.raises(LakeError, match=r"partition_hour=.*was removed by hand"):
        lake.scan(USER_PROGRESS, [OLD])
    assert OLD.start not in {hour for hour, _ in listed(lake)}


def test_a_change_by_hand_is_noticed_within_some_runs(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    listed(lake)
    (tmp_path / file_name(USER_PROGRESS, OLD)).write_bytes(b"something else")
    for number in range(1, 1 + -(-(DAYS - SETTLED_DAYS) // CHECKED_DAYS) + 1):
        write(lake, Hour(NEWEST.start + number * HOUR))
        told = listed(Lake(tmp_path))
    assert told == found(tmp_path)


def test_a_table_that_was_removed_and_written_again_is_listed_again(tmp_path: Path) -> None:
    lake = filled(tmp_path, DAYS, USER_PROGRESS)
    listed(lake)
    lake.invalidate(USER_PROGRESS, lake.hours(USER_PROGRESS)[0])
    assert listed(lake) == []
    window = [Hour(NEWEST.start - number * HOUR) for number in range(DAYS * 24)]
    lake.write_hours(USER_PROGRESS, window, USER_PROGRESS.empty(), pl.Series(dtype=pl.Datetime("us", "UTC")))
    assert listed(lake) == found(tmp_path)


def test_what_is_remembered_may_be_damaged(tmp_path: Path) -> None:
    before = listed(filled(tmp_path, DAYS, USER_PROGRESS))
    Cache(tmp_path, USER_PROGRESS.name).path("listing").write_bytes(b"damage")
    assert listed(Lake(tmp_path)) == before


def test_a_folder_of_a_day_without_hours_goes_with_its_last_hour(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    write(lake, OLD)
    lake.remove(USER_PROGRESS, OLD)
    assert LocalFiles(tmp_path).folders(USER_PROGRESS.name) == []


@pytest.mark.parametrize("many", [90, pytest.param(365, marks=pytest.mark.long)])
def test_a_year_asks_the_file_system_as_often_as_a_month(
    many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(days: int) -> int:
        root = tmp_path / str(days)
        filled(root, days, USER_PROGRESS, USERS)
        _hour(Lake(root))
        with counted(monkeypatch) as found:
            _hour(Lake(root))
        return sum(found.values())

    month, year = calls(30), calls(many)
    assert year <= 1.1 * month, (month, year)


def _hour(lake: Lake) -> None:
    """What an hourly run asks for, whatever it reads."""
    for _ in range(4):
        lake.hours(USER_PROGRESS)
        lake.complete_until(USER_PROGRESS)
        lake.listed_days(USER_PROGRESS)
        lake.file_versions((USER_PROGRESS,), NEWEST.as_of)
        lake.hours_since(USER_PROGRESS, NEWEST.start - timedelta(days=2))
        lake.newest_hour(USER_PROGRESS)
        lake.scan(USERS).collect()
