"""From contracts and frames to the metadata that Dagster shows; numbers of a single asset are in its module."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg
import dataframely as dy
import polars as pl

from ghost_pipeline.contracts.column_rules import column_rules
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.lineage import Input
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS, personal_columns

PREVIEW_ROWS = 5
INPUTS_SHOWN = 4
"""Inputs named beside a column; its lineage has all of them."""


def column_schema(contract: Contract, lineage: Mapping[str, Sequence[Input]]) -> dg.TableSchema:
    """Return a contract's columns as Dagster shows them, each description with the column's inputs."""
    key, personal = set(contract.primary_key), personal_columns(contract)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(column.dtype),
                description=_described(column.description or "", lineage.get(name, ())),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=key == {name},
                    # Instants have the same bounds everywhere, against mistakes of units.
                    other=[] if isinstance(column.dtype, pl.Datetime) else list(_shown_rules(column)),
                ),
                tags={"personal": ""} if name in personal else {},
            )
            for name, column in contract.schema.columns().items()
        ],
        constraints=dg.TableConstraints(other=[f"primary key ({', '.join(contract.primary_key)})"] if key else []),
    )


def _shown_rules(column: dy.Column) -> Iterator[str]:
    signs = {"min": "≥", "min_exclusive": ">", "max": "≤", "max_exclusive": "<"}
    for rule, limit in column_rules(column).items():
        yield f"{signs.get(rule, rule.replace('_', ' '))} {limit}"


def _described(text: str, inputs: Sequence[Input]) -> str:
    # Only Dagster+ draws the lineage of columns.
    shown = [f"{one.table}.{one.column}" for one in inputs[:INPUTS_SHOWN]]
    shown += [f"{len(inputs) - INPUTS_SHOWN} more"] if len(inputs) > INPUTS_SHOWN else []
    return f"{text} (from {', '.join(shown)})" if shown else text


def preview(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """Return the first rows, without the columns that name a person."""
    return as_table(frame.drop(PERSONAL_COLUMNS, strict=False).head(PREVIEW_ROWS))


def as_table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """Return all rows of a frame; the caller makes sure that no column names a person."""
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(frame.columns, _cells(row), strict=True))) for row in frame.iter_rows()],
        dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in frame.schema.items()]),
    )


def _cells(row: Iterable[object]) -> list[str | int | float | None]:
    # Dagster stores JSON: decimals, times and lists are shown as their texts.
    return [value if value is None or isinstance(value, str | int | float) else str(value) for value in row]
