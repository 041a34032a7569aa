"""The columns that the tables of a lake had at its last run: `columns.json`, beside the tables.

By it a run notices that a release has changed a contract, and a query knows which tables have files with other columns.
"""

import json
from dataclasses import asdict, dataclass

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.local_files import Files

COLUMNS_FILE = "columns.json"


@dataclass(frozen=True)
class RecordedColumns:
    """The columns of one table."""

    columns: dict[str, str]
    """Names and polars types, in order."""
    have_changed: bool = False
    """Whether files of the table may have other columns."""

    @classmethod
    def of(cls, contract: Contract, *, have_changed: bool = False) -> "RecordedColumns":
        """Return what a contract says today."""
        return cls({name: str(dtype) for name, dtype in contract.polars_schema.items()}, have_changed)

    def gained(self, contract: Contract) -> list[str]:
        """The columns of a contract that are not among these, or have another type, in order."""
        return [name for name, dtype in contract.polars_schema.items() if self.columns.get(name) != str(dtype)]


def read_columns(files: Files) -> dict[str, RecordedColumns] | None:
    """The record by table; None if there is none, or it is damaged."""
    found = files.located([COLUMNS_FILE])
    try:
        tables = json.loads(found[0].read_bytes())["tables"] if found else None
        return {name: RecordedColumns(**told) for name, told in tables.items()} if tables else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def write_columns(files: Files, have_changed: set[str]) -> None:
    """Record the columns of today's contracts, and which tables may have files with others.

    Raises:
        LakeError: the file cannot be written.

    """
    tables = {
        name: asdict(RecordedColumns.of(contract, have_changed=name in have_changed))
        for name, contract in CONTRACTS.items()
    }
    with files.replacing([COLUMNS_FILE]) as staging:
        staging.put(COLUMNS_FILE, f"{json.dumps({'tables': tables}, indent=1)}\n".encode())
