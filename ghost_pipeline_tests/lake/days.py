"""Lakes that have hours on many days, as the tests of listing and merging need them."""

from pathlib import Path

from ghost_pipeline.contracts import Contract
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import write_layout
from ghost_pipeline.lake.local_files import LocalFiles
from ghost_pipeline.lake.parquet import parquet_bytes
from ghost_pipeline.lake.partitions import file_name
from ghost_pipeline.windows import DAY, HOUR, Hour
from ghost_pipeline_tests.samples import HOUR as NEWEST
from ghost_pipeline_tests.samples import sample

DAYS = 40
OLD = Hour(NEWEST.start - 30 * DAY)


def later(days: int) -> Hour:
    """An hour by its distance in days to the newest one."""
    return Hour(NEWEST.start + days * DAY)


def fill(root: Path, *hours: Hour, contract: Contract = USER_PROGRESS, rows: int = 3) -> None:
    """Put hours with the same rows into a lake, without waiting for the disk and without marks."""
    content = parquet_bytes(contract, sample(contract, rows, 1))
    for hour in hours:
        path = root / file_name(contract, hour)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def filled(root: Path, days: int, *contracts: Contract) -> Lake:
    """A lake with an empty partition for every hour of so many days up to the newest hour."""
    for contract in contracts:
        hours = (Hour(NEWEST.start - number * HOUR) for number in range(days * 24))
        fill(root, *hours, contract=contract, rows=0)
    write_layout(LocalFiles(root))
    return Lake(root)


def some_days(root: Path, *days: int, contract: Contract = USER_PROGRESS) -> Lake:
    """A lake with an hour on each of some days, counted from the newest hour."""
    fill(root, *map(later, days), contract=contract)
    write_layout(LocalFiles(root))
    return Lake(root)


def write(lake: Lake, hour: Hour, seed: int = 1, contract: Contract = USER_PROGRESS) -> None:
    """Replace an hour by some rows."""
    lake.write(contract, hour, sample(contract, 3, seed))
