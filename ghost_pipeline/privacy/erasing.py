"""Removing people from the lake: from its tables, its caches and what was staged.

Tombstones come first and say that an erasure is under way; then every table from the last one that follows from others
to the sources' own, which tell what is whose. A kill anywhere leaves a person whose erasure, run again, goes on.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS, USERS
from ghost_pipeline.lake.atomic import clear_staging
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Partition
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, USER, owner_column
from ghost_pipeline.privacy.personal_rows import IDS_SCHEMA, ids_of, is_of, of_one_member, under_other_names
from ghost_pipeline.privacy.tombstones import buried, finish, load_tombstones, record_tombstones

NAME_BYTES = 16
"""Random bytes of a name that takes the place of an id."""


@dataclass(frozen=True)
class Changed:
    """What an erasure has to do, or did, in a table."""

    table: str
    partitions: int
    rows: int
    pseudonymised: bool
    """Whether the rows stay under other names; else they are gone."""


@dataclass(frozen=True)
class Found:
    """The rows of a table that belong to people."""

    partitions: dict[Partition, int]
    """Where they lie, and how many."""
    condition: pl.Expr
    """What tells them from the others."""


def ids_in(lake: Lake, users: Sequence[str]) -> pl.DataFrame:
    """The users and the ids that are theirs alone, of whatever the lake has of them: `IDS_SCHEMA`, sorted."""
    tables = {name: lake.scan(one) for name, one in RAW_CONTRACTS.items() if USER in one.polars_schema}
    return ids_of(tables, pl.Series(USER, users, pl.String)).sort(IDS_SCHEMA.names()).collect()


def erased_ids_in(lake: Lake, key: bytes) -> pl.DataFrame:
    """What the lake has of people who were erased, recognised by tombstones: `IDS_SCHEMA`, sorted.

    A session of theirs that no table says is somebody's has no `user_id`.

    Raises:
        SettingsError: the tombstones have another key.

    """
    erased = load_tombstones(lake, key)
    told = lake.scan(REJECTED_ROWS).select(pl.col("row").str.json_path_match(f"$.{USER}").str.strip_chars())
    users = [told, *(lake.scan(one).select(USER) for one in CONTRACTS.values() if USER in one.polars_schema)]
    there = pl.concat([one.select(pl.nth(0).alias(USER)) for one in users]).unique().collect().to_series()
    ids = ids_in(lake, erased.among(USER, there).to_list())
    for column, table in list(ID_COLUMNS.items())[1:]:
        owned = [lake.scan(one).select(column) for one in CONTRACTS.values() if owner_column(one) == column]
        if owned:
            # What somebody else has taken over from them is somebody else's.
            known = lake.scan(RAW_CONTRACTS[table.name]).select(column)
            strangers = pl.concat(owned).unique().join(known, on=column, how="anti").collect()[column]
            found = erased.among(column, strangers).to_frame("id")
            ids = ids.vstack(found.select(pl.lit(None, pl.String).alias(USER), pl.lit(column).alias("column"), "id"))
    return ids.sort(IDS_SCHEMA.names())


def unknown_users(lake: Lake, users: Sequence[str], key: bytes) -> list[str]:
    """Those of whom there is no row, no rejected row and no tombstone.

    Raises:
        SettingsError: the tombstones have another key.

    """
    left = set(users) - buried(lake, key, users)
    for contract in CONTRACTS.values():
        if left and USER in contract.polars_schema:
            there = lake.scan(contract).filter(pl.col(USER).is_in(sorted(left))).select(pl.col(USER).unique())
            left -= set(there.collect().to_series())
    return [user for user in users if user in left and not _is_in_rejects(lake, user)]


def _is_in_rejects(lake: Lake, user: str) -> bool:
    ids = pl.DataFrame([(user, USER, user)], schema=IDS_SCHEMA, orient="row")
    condition = is_of(REJECTED_ROWS, ids)
    return condition is not None and bool(lake.partitions_where(REJECTED_ROWS, condition))


def to_erase(lake: Lake, ids: pl.DataFrame) -> dict[Contract, Found]:
    """The rows that belong to people, as tables in the order in which they go."""
    found = {}
    for contract in reversed(CONTRACTS.values()):
        condition = _of_one_member(lake, ids) if contract is COHORT_GHOST_DATA else is_of(contract, ids)
        if condition is not None and (partitions := lake.partitions_where(contract, condition)):
            found[contract] = Found(partitions, condition)
    return found


def changes(found: dict[Contract, Found]) -> list[Changed]:
    """The same as numbers, in the order of the tables."""
    return [
        Changed(one.name, len(found[one].partitions), sum(found[one].partitions.values()), one.pseudonymised)
        for one in CONTRACTS.values()
        if one in found
    ]


def erase_from_lake(
    lake: Lake,
    ids: pl.DataFrame,
    key: bytes,
    at: datetime,
    *,
    everybody: bool = False,
    begins: Callable[[list[Changed], int], None] = lambda _changed, _new: None,
) -> tuple[list[Changed], int]:
    """Remove people from the lake. The caller has it alone (`locking.exclusive_lock`).

    Args:
        lake: where from.
        ids: of `ids_in` or `erased_ids_in`, found since the caller has the lake.
        key: of the tombstones.
        at: when, aware.
        everybody: whether `ids` are of all who have tombstones: then no erasure is under way any more.
        begins: told what is returned when the tombstones are there, and before anything goes.

    Returns:
        What has changed in which table, and how many ids have new tombstones.

    Raises:
        SettingsError: the tombstones that are there have another key.
        LakeError: something cannot be written; run again, it goes on.

    """
    found = to_erase(lake, ids)
    new = record_tombstones(lake, key, ids, at)
    begins(changes(found), new)
    for contract, of_table in found.items():
        lake.rewrite(contract, of_table.partitions, _change(contract, ids, of_table.condition))
    lake.forget_copies(CONTRACTS.values())
    clear_cache(lake.root)
    clear_staging(lake.root)
    finish(lake, key, None if everybody else ids[USER].drop_nulls().unique())
    return changes(found), new


def _change(contract: Contract, ids: pl.DataFrame, condition: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        if contract.pseudonymised:
            names = pl.Series([secrets.token_hex(NAME_BYTES) for _ in range(rows.height)], dtype=pl.String)
            return under_other_names(rows, contract, ids, names)
        return rows.filter(~condition)

    return change


def _of_one_member(lake: Lake, ids: pl.DataFrame) -> pl.Expr:
    users = lake.scan(USERS).filter(pl.col(USER).is_in(ids[USER].drop_nulls().unique().implode()))
    return of_one_member(users.select(pl.col("cohort_id").drop_nulls().unique()).collect().to_series())
