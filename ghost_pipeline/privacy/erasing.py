"""Removing people from the lake: from its tables, its caches and its staging folder.

First come tombstones, which say that an erasure is under way. Then every table is rewritten, derived tables before the
raw ones, since only the raw tables tell which ids belong to whom. If killed, rerunning the erasure resumes it.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS, USERS
from ghost_pipeline.errors import UnknownUserError
from ghost_pipeline.lake.atomic import clear_staging
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Partition
from ghost_pipeline.privacy.erasure_report import TableErasure
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, USER, owner_column
from ghost_pipeline.privacy.personal_rows import (
    IDS_SCHEMA,
    is_single_member_cohort,
    personal_ids,
    personal_rows,
    pseudonymised,
)
from ghost_pipeline.privacy.tombstones import erased_users, finish_erasure, load_tombstones, record_tombstones
from ghost_pipeline.windows import Month

PSEUDONYM_BYTES = 16
"""Random bytes of the name that replaces an id."""


@dataclass(frozen=True)
class PersonalRows:
    """The rows of a table that belong to people."""

    partitions: dict[Partition, int]
    """The partitions that have some, each with their number."""
    condition: pl.Expr
    """True for these rows."""


def personal_ids_in(lake: Lake, users: Sequence[str]) -> pl.DataFrame:
    """The users and every id in the lake that is theirs alone: `IDS_SCHEMA`, sorted."""
    tables = {name: lake.scan(one) for name, one in RAW_CONTRACTS.items() if USER in one.polars_schema}
    return personal_ids(tables, pl.Series(USER, users, pl.String)).sort(IDS_SCHEMA.names()).collect()


def erased_ids_in(lake: Lake, key: bytes) -> pl.DataFrame:
    """The ids in the lake that belong to erased people, recognised by tombstones: `IDS_SCHEMA`, sorted.

    The `user_id` of a session is null if no table names its owner any more.

    Raises:
        SettingsError: the tombstones have another key.

    """
    tombstones = load_tombstones(lake, key)
    rejected = lake.scan(REJECTED_ROWS).select(pl.col("row").str.json_path_match(f"$.{USER}").str.strip_chars())
    users = [rejected, *(lake.scan(one).select(USER) for one in CONTRACTS.values() if USER in one.polars_schema)]
    user_ids = pl.concat([one.select(pl.nth(0).alias(USER)) for one in users]).unique().collect().to_series()
    ids = personal_ids_in(lake, tombstones.among(USER, user_ids).to_list())
    for column, table in list(ID_COLUMNS.items())[1:]:
        owned = [lake.scan(one).select(column) for one in CONTRACTS.values() if owner_column(one) == column]
        if owned:
            # An id that the raw table knows has an owner who is not erased.
            known_ids = lake.scan(RAW_CONTRACTS[table.name]).select(column)
            unknown_ids = pl.concat(owned).unique().join(known_ids, on=column, how="anti").collect()[column]
            found = tombstones.among(column, unknown_ids).to_frame("id")
            ids = ids.vstack(found.select(pl.lit(None, pl.String).alias(USER), pl.lit(column).alias("column"), "id"))
    return ids.sort(IDS_SCHEMA.names())


def ids_to_erase(lake: Lake, users: Sequence[str] | None, key: bytes, *, even_if_unknown: bool) -> pl.DataFrame:
    """The ids of some users or, for None, of all erased people who are in the lake: `IDS_SCHEMA`, sorted.

    Raises:
        SettingsError: the tombstones have another key.
        UnknownUserError: the lake has nothing of a user, and `even_if_unknown` is False.

    """
    if users is None:
        return erased_ids_in(lake, key)
    unknown = unknown_users(lake, users, key)
    if unknown and not even_if_unknown:
        positions = ", ".join(str(users.index(one) + 1) for one in unknown)
        which = f"position {positions}" if len(unknown) == 1 else f"positions {positions}"
        raise UnknownUserError(
            f"erase: the lake has nothing of {len(unknown)} of {len(users)} users ({which} of those you named). Check "
            f"the id, or give --even-if-unknown to block it all the same",
        )
    return personal_ids_in(lake, users)


def unknown_users(lake: Lake, users: Sequence[str], key: bytes) -> list[str]:
    """The users without a row, a rejected row or a tombstone.

    Raises:
        SettingsError: the tombstones have another key.

    """
    left = set(users) - erased_users(lake, key, users)
    for contract in CONTRACTS.values():
        if left and USER in contract.polars_schema:
            found = lake.scan(contract).filter(pl.col(USER).is_in(sorted(left))).select(pl.col(USER).unique())
            left -= set(found.collect().to_series())
    return [user for user in users if user in left and not _is_in_rejects(lake, user)]


def _is_in_rejects(lake: Lake, user: str) -> bool:
    ids = pl.DataFrame([(user, USER, user)], schema=IDS_SCHEMA, orient="row")
    condition = personal_rows(REJECTED_ROWS, ids)
    return condition is not None and bool(lake.partitions_where(REJECTED_ROWS, condition))


def rows_to_erase(lake: Lake, ids: pl.DataFrame) -> dict[Contract, PersonalRows]:
    """The rows that belong to people, by table, in the order of erasing: derived tables first."""
    found = {}
    for contract in reversed(CONTRACTS.values()):
        condition = _single_member_cohorts(lake, ids) if contract is COHORT_GHOST_DATA else personal_rows(contract, ids)
        if condition is not None and (partitions := lake.partitions_where(contract, condition)):
            found[contract] = PersonalRows(partitions, condition)
    return found


def table_erasures(rows: dict[Contract, PersonalRows]) -> list[TableErasure]:
    """The numbers of `rows_to_erase`, in the order of the contracts."""
    return [
        TableErasure(one.name, len(rows[one].partitions), sum(rows[one].partitions.values()), one.pseudonymised)
        for one in CONTRACTS.values()
        if one in rows
    ]


def user_versions(lake: Lake, ids: pl.DataFrame) -> pl.DataFrame:
    """All versions in `users` of the people whom `ids` name."""
    return lake.scan(USERS).filter(pl.col(USER).is_in(_users(ids).implode())).collect()


def months_with_shares(lake: Lake, ids: pl.DataFrame, key: bytes) -> list[Month]:
    """The months in whose benchmarks the people may have counted as achievers, ascending.

    Raises:
        SettingsError: the tombstones have another key.

    """
    months = lake.months(GHOST_BENCHMARKS)
    versions = user_versions(lake, ids)
    if erased_users(lake, key, set(ids[USER].drop_nulls()) - set(versions[USER])):
        # An interrupted erasure has already removed the versions that would tell which months.
        return months
    counted = versions.filter(pl.col("final_band_score").is_not_null(), pl.col("diagnostic_score").is_not_null())
    since = counted["created_at"].min()
    return [month for month in months if isinstance(since, datetime) and month.as_of > since]


def erase_from_lake(
    lake: Lake,
    ids: pl.DataFrame,
    key: bytes,
    at: datetime,
    *,
    everybody: bool = False,
    begins: Callable[[list[TableErasure], int], None] = lambda _tables, _new: None,
) -> tuple[list[TableErasure], int]:
    """Remove people from the lake. The caller holds `locking.exclusive_lock`.

    Args:
        lake: the lake.
        ids: from `personal_ids_in` or `erased_ids_in`, called since the lock was taken.
        key: key of the tombstones.
        at: time of the erasure, aware.
        everybody: whether `ids` are those of all who have tombstones: afterwards no erasure is under way.
        begins: called with the result once the tombstones are written and before any row is removed.

    Returns:
        What changed in each table, and how many ids have new tombstones.

    Raises:
        SettingsError: the existing tombstones have another key.
        LakeError: a file cannot be written; running again resumes the erasure.

    """
    rows = rows_to_erase(lake, ids)
    new = record_tombstones(lake, key, ids, at)
    tables = table_erasures(rows)
    begins(tables, new)
    for contract, of_table in rows.items():
        lake.rewrite(contract, of_table.partitions, _change(contract, ids, of_table.condition))
    lake.forget_copies(CONTRACTS.values())
    clear_cache(lake.root)
    clear_staging(lake.root)
    finish_erasure(lake, key, None if everybody else _users(ids))
    return tables, new


def _change(contract: Contract, ids: pl.DataFrame, condition: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        if contract.pseudonymised:
            names = pl.Series([secrets.token_hex(PSEUDONYM_BYTES) for _ in range(rows.height)], dtype=pl.String)
            return pseudonymised(rows, contract, ids, names)
        return rows.filter(~condition)

    return change


def _single_member_cohorts(lake: Lake, ids: pl.DataFrame) -> pl.Expr:
    users = lake.scan(USERS).filter(pl.col(USER).is_in(_users(ids).implode()))
    return is_single_member_cohort(users.select(pl.col("cohort_id").drop_nulls().unique()).collect().to_series())


def _users(ids: pl.DataFrame) -> pl.Series:
    return ids[USER].drop_nulls().unique()
