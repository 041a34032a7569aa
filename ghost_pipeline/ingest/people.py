"""Rows of people: rows of unknown users are rejected, rows of erased people are set aside."""

import polars as pl

from ghost_pipeline.contracts.raw import USERS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.ingest.validation import REASON, reject_unknown, set_aside_erased
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, USER
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones


def known_users(lake: Lake) -> pl.DataFrame:
    """Return the `user_id` of every user whom the lake knows."""
    return lake.scan(USERS).select(pl.col(USER).unique()).collect()


def refers_to_users(table: SourceTable) -> bool:
    """Return whether rows of a table that name no user are rejected."""
    return any(column.references == USERS.name for column in table.columns)


def reject_unknown_users(
    rows: pl.LazyFrame, table: SourceTable, known_ids: pl.LazyFrame, erased: Tombstones
) -> pl.LazyFrame:
    """Reject rows of users who are not in `known_ids`, except those of erased people: set these aside."""
    if refers_to_users(table):
        rows = reject_unknown(rows, "user_id", known_ids, "user")
    personal_ids = [column.name for column in table.columns if column.name in ID_COLUMNS]
    return set_aside_erased_people(rows, known_ids, personal_ids, erased)


def set_aside_erased_people(
    rows: pl.LazyFrame, known_ids: pl.LazyFrame, personal_ids: list[str], erased: Tombstones
) -> pl.LazyFrame:
    """Set aside rows whose owner is not in `known_ids` and one of whose `personal_ids` has a tombstone.

    Erased people are unknown to the lake, so only unknown ids are hashed.
    """
    if erased is NO_TOMBSTONES or not personal_ids:
        return rows
    (owner,) = known_ids.collect_schema().names()
    unknown_ids = rows.select(personal_ids).join(known_ids, on=owner, how="anti").unique().collect()
    erased_ids = {name: erased.among(name, unknown_ids[name]).implode() for name in personal_ids}
    is_erased = pl.any_horizontal(pl.col(name).is_in(ids) for name, ids in erased_ids.items())
    # A keyboard that another user has taken over belongs to that user. A user's own row belongs to no other.
    return set_aside_erased(rows, is_erased if personal_ids == [USER] else pl.col(REASON).is_not_null() & is_erased)
