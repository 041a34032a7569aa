"""Finding the rows of a table that belong to people, and replacing ids in rows that have to stay.

Ids are frames of `IDS_SCHEMA`. Which columns hold them is derived in `personal_columns`; files are not touched here.
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
"""One row per id: the person, the column that holds such ids, and the id."""

LONG_ID = 8
"""Characters that an id needs to be searched for in any text of a rejected row: a shorter one matches by chance."""


def personal_ids(tables: Mapping[str, pl.LazyFrame], users: pl.Series) -> pl.LazyFrame:
    """The users and the ids that belong to them and to no other person: `IDS_SCHEMA`, in no order.

    Args:
        tables: all rows of the raw tables that have a `user_id`, by name.
        users: the people.

    """
    of_users = pl.col(USER).is_in(users.implode())
    single_owner = [users.unique().to_frame(USER).lazy().select(USER, column=pl.lit(USER), id=USER)]
    several_owners = [pl.LazyFrame(schema=IDS_SCHEMA)]
    for name, rows in tables.items():
        names = rows.collect_schema().names()
        for column in (one for one in ID_COLUMNS if one in names and one != USER):
            pairs = rows.select(USER, column=pl.lit(column), id=column)
            # An event has one row and thus one owner; a keyboard may have been lent, or handed on.
            is_event = ID_COLUMNS[column].name == name and ID_COLUMNS[column].time
            (single_owner if is_event else several_owners).append(pairs)
    pairs = pl.concat(several_owners)
    candidates = pairs.filter(of_users).unique()
    of_others = pairs.filter(~of_users).join(candidates, on=["column", "id"], how="semi")
    unshared = candidates.join(of_others, on=["column", "id"], how="anti")
    found: pl.LazyFrame = pl.concat([*(rows.filter(of_users) for rows in single_owner), unshared]).unique()
    return found.select(IDS_SCHEMA.names())


def personal_rows(contract: Contract, ids: pl.DataFrame) -> pl.Expr | None:
    """Whether a row of a table belongs to the people of `ids`; None for a table whose rows belong to no person."""
    if contract.partitioning is Partitioning.REJECTED:
        return _personal_rejects(ids)
    owner = owner_column(contract)
    return None if owner is None else pl.col(owner).is_in(_ids_of_column(ids, owner).implode())


def is_single_member_cohort(cohorts: pl.Series) -> pl.Expr:
    """Whether a row of `cohort_ghost_data` is about one of some cohorts and a single member, whose row it then is."""
    return pl.col("cohort_id").is_in(cohorts.implode()) & (pl.col("active_member_count") == 1)


def pseudonymised(rows: pl.DataFrame, contract: Contract, ids: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """The rows of a table with `names` in place of the users of `ids`, sorted by the table's key.

    Args:
        rows: all rows of a partition.
        contract: a table with a `user_id`.
        ids: `IDS_SCHEMA`.
        names: one per row; each is used once at most.

    """
    of_users = pl.col(USER).is_in(_ids_of_column(ids, USER).implode())
    named = rows.with_columns(pl.when(of_users).then(names).otherwise(USER).alias(USER))
    return named.sort(contract.primary_key)


def _ids_of_column(ids: pl.DataFrame, column: str) -> pl.Series:
    return ids.filter(pl.col("column") == column)["id"].unique().sort()


def _personal_rejects(ids: pl.DataFrame) -> pl.Expr:
    """Whether a rejected row holds an id: in the column of such ids or, if it is long, anywhere."""
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


def _as_read(value: pl.Expr, ids: pl.DataFrame, column: str) -> pl.Expr:
    """Whether the raw text of a value is one of the ids of its column in one of the forms that validation accepts."""
    text = value.str.strip_chars()
    forms = (text, text.str.replace(r"\.0+$", ""), uuid_text(text))
    personal = _ids_of_column(ids, column).implode()
    return pl.any_horizontal(*(form.is_in(personal) for form in forms))
