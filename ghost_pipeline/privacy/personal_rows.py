"""Which rows are a person's, so that they can be erased; and what becomes of those that have to stay.

Ids are frames of `IDS_SCHEMA`: what names a person or is theirs (`personal_columns`).
"""

import json
from collections.abc import Mapping

import polars as pl

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Kind
from ghost_pipeline.domain.shared.identity import uuid_text
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, USER, owner_column

IDS_SCHEMA = pl.Schema({"user_id": pl.String(), "column": pl.String(), "id": pl.String()})
"""A row for each id: the person, what the id is an id of, and the id."""

LONG_ID = 8
"""Characters from which on an id is looked for in any text of a rejected row: a shorter one stands there by chance."""


def ids_of(tables: Mapping[str, pl.LazyFrame], users: pl.Series) -> pl.LazyFrame:
    """The users and what is theirs and nobody else's: `IDS_SCHEMA`, in no order.

    Args:
        tables: the raw tables that have a `user_id`, by name; all of their rows.
        users: whose ids are asked for.

    """
    theirs = pl.col(USER).is_in(users.implode())
    own = [users.unique().to_frame(USER).lazy().select(USER, column=pl.lit(USER), id=USER)]
    shared = [pl.LazyFrame(schema=IDS_SCHEMA)]
    for name, rows in tables.items():
        there = rows.collect_schema().names()
        for column in (one for one in ID_COLUMNS if one in there and one != USER):
            pairs = rows.select(USER, column=pl.lit(column), id=column)
            # An event has one row, and with it one owner; a keyboard may have been lent, or handed on.
            (own if ID_COLUMNS[column].name == name and ID_COLUMNS[column].time else shared).append(pairs)
    pairs = pl.concat(shared)
    theirs_shared = pairs.filter(theirs).unique()
    others = pairs.filter(~theirs).join(theirs_shared, on=["column", "id"], how="semi")
    alone = theirs_shared.join(others, on=["column", "id"], how="anti")
    found: pl.LazyFrame = pl.concat([*(rows.filter(theirs) for rows in own), alone]).unique()
    return found.select(IDS_SCHEMA.names())


def is_of(contract: Contract, ids: pl.DataFrame) -> pl.Expr | None:
    """Whether a row of a table belongs to the people that `ids` name; None for a table whose rows are nobody's."""
    if contract.partitioning is Partitioning.REJECTED:
        return _is_rejected_of(ids)
    owner = owner_column(contract)
    return None if owner is None else pl.col(owner).is_in(_of(ids, owner).implode())


def of_one_member(cohorts: pl.Series) -> pl.Expr:
    """Whether a row of `cohort_ghost_data` is of one of some cohorts and over a single member: then it is theirs."""
    return pl.col("cohort_id").is_in(cohorts.implode()) & (pl.col("active_member_count") == 1)


def under_other_names(rows: pl.DataFrame, contract: Contract, ids: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """The rows of a table with `names` in place of the users that `ids` name, sorted by the table's key.

    Args:
        rows: all rows of a partition.
        contract: a table with a `user_id`.
        ids: `IDS_SCHEMA`.
        names: as many as there are rows; each is used once at most.

    """
    theirs = pl.col(USER).is_in(_of(ids, USER).implode())
    named = rows.with_columns(pl.when(theirs).then(names).otherwise(USER).alias(USER))
    return named.sort(contract.primary_key)


def _of(ids: pl.DataFrame, column: str) -> pl.Series:
    return ids.filter(pl.col("column") == column)["id"].unique().sort()


def _is_rejected_of(ids: pl.DataFrame) -> pl.Expr:
    """Whether a rejected row holds an id: as what its column says, or a long one anywhere."""
    row = pl.col("row")
    named = [
        (pl.col("source_table") == table.name) & _as_read(row.str.json_path_match(f"$.{column.name}"), ids, column.name)
        for table in SOURCE_TABLES.values()
        for column in table.columns
        if column.name in ID_COLUMNS and column.kind is Kind.ID
    ]
    long = ids.filter(pl.col("id").str.len_chars() >= LONG_ID)["id"].unique().sort()
    patterns = [json.dumps(one, ensure_ascii=False)[1:-1] for one in long]
    anywhere = row.str.contains_any(patterns) if patterns else pl.lit(value=False)
    return pl.any_horizontal(*named, anywhere).fill_null(value=False)


def _as_read(told: pl.Expr, ids: pl.DataFrame, column: str) -> pl.Expr:
    """Whether a value of a row as it was read is one of the ids of its column, as they are read off it."""
    text = told.str.strip_chars()
    forms = (text, text.str.replace(r"\.0$", ""), uuid_text(text))
    mine = _of(ids, column).implode()
    return pl.any_horizontal(*(form.is_in(mine) for form in forms))
