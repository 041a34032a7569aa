"""The contract of a table: the one declaration from which everything else derives.

The columns (types, keys, nullability, ranges, descriptions) are a dataframely schema. The polars schema,
the DuckDB DDL with comments, Dagster's column schema, the asset checks and the test generators are read
off it; nothing repeats it.
"""

from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from types import new_class

import dataframely as dy
import polars as pl
from dataframely.exc import SchemaError, ValidationError

from ghost_pipeline.contracts.coded_texts import coded_schema, coded_texts, repeated_keys, schema_of_text
from ghost_pipeline.contracts.row_rules import fulfils
from ghost_pipeline.errors import ContractError, without_values
from ghost_pipeline.sql_quoting import sql_identifier, sql_literal

_BY_DAY = ("partition_date",)
_BY_HOUR = (*_BY_DAY, "partition_hour")


class Partitioning(Enum):
    """How a table is partitioned."""

    EVENT_HOUR = "event hour"
    """Events by the hour in which they happened; a session's rows by the hour in which it started."""
    EVENT_DAY = "event day"
    """Sums over the events of a UTC day."""
    VERSION_HOUR = "version hour"
    """Versions by the hourly run that saw them first (G1.7)."""
    SNAPSHOT_HOUR = "snapshot hour"
    """State at the end of the hour (G1.2)."""
    CHANGE_HOUR = "change hour"
    """Changes of the hour; all hours together are a history (N3.5)."""
    MONTH = "month"
    """State at the end of the month (G5.5)."""
    STALE_DAY = "stale day"
    """Hours or months to be computed again, by the day on which they begin (G1.8)."""
    REJECTED = "rejected"
    """Rejected rows by table and, where the row tells it, by the hour of its event."""
    ERASED_DAY = "erased day"
    """Tombstones by the day of the erasure."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the folder levels in the lake.

        No column may have such a name: most clients refuse a column that has one type in the file and another in the
        path (`2025-02` is a text to pyarrow, a month in the file a date).
        """
        match self:
            case Partitioning.MONTH:
                return ("partition_month",)
            case Partitioning.EVENT_DAY | Partitioning.STALE_DAY | Partitioning.ERASED_DAY:
                return _BY_DAY
            case Partitioning.REJECTED:
                return ("partition_table", *_BY_HOUR)
            case _:
                return _BY_HOUR


HOURLY_AGE, MONTHLY_AGE = timedelta(hours=2), timedelta(days=35)
"""An hour is published within the next one, and two missed ones are worth a look; a month within four days."""

USER_SNAPSHOTS_KEPT = timedelta(days=7)
"""Every hour holds all users again, and only the newest one is asked for."""
TWO_MONTHS = timedelta(days=62)
"""The month before the newest one serves until that may (G5.5), and hours add up the days since its end."""


class Layer(Enum):
    """Stage of a table between source and readers; also its asset group."""

    RAW = "raw"
    GHOST = "ghost"
    NGRAMS = "ngrams"
    OPERATIONS = "operations"


@dataclass(frozen=True)
class Contract:
    """A table of the lake. Its name is also its asset, its folder and, where published, its relation."""

    name: str
    schema: type[dy.Schema]
    layer: Layer
    partitioning: Partitioning
    grain: str
    """One row in words."""
    published: bool = False
    """Whether apps may read it from the published database."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """Further indexes of the published table, beside the primary key."""
    sorted_by: tuple[str, ...] = ()
    """Order of the published rows, in each file of a history, if it is not that of the key; DuckDB skips row groups
    outside a query's range."""
    append_only: bool = False
    """Whether every hour adds rows for good. Such a table is published as a view over Parquet files that hold the rows
    of an hour, a day or a month: a publication then costs what changed, and not what has been collected."""
    written_once: bool = False
    """Whether a partition is never computed again, because people have seen what it holds."""
    pseudonymised: bool = False
    """Whether an erased person's rows stay under a random name; otherwise they are removed."""
    kept_for: timedelta | None = None
    """How long hours of events stay, if what follows from them is kept input from then on; None: for good."""
    never_expire_reason: str = ""
    """Why no setting may remove its partitions, if the partitioning does not already forbid it."""

    @property
    def description(self) -> str:
        """The docstring of the schema: what the table is for."""
        return " ".join((self.schema.__doc__ or "").split())

    @property
    def has_age(self) -> bool:
        """Whether the newest partition says how fresh the table is; lists are partitioned by what they refer to."""
        return self.partitioning not in {Partitioning.REJECTED, Partitioning.STALE_DAY, Partitioning.ERASED_DAY}

    @property
    def max_age(self) -> timedelta:
        """How old the newest partition may be by the wall clock, for the check `freshness` and monitoring."""
        match self.partitioning:
            case Partitioning.MONTH:
                return MONTHLY_AGE
            case Partitioning.EVENT_DAY:
                return HOURLY_AGE + timedelta(days=1)
            case _:
                return HOURLY_AGE

    def late_after(self, as_of: datetime) -> datetime:
        """The instant after which a newest partition that ends at `as_of` is late."""
        return as_of + self.max_age

    @property
    def retention_exempt_reason(self) -> str:
        """Why no setting may remove its partitions; empty if one may."""
        match self.partitioning:
            case Partitioning.EVENT_HOUR if self.kept_for is None:
                return "hours of events have no gap, so a missing hour counts as lost"
            case Partitioning.VERSION_HOUR:
                return "the source no longer has earlier versions"
            case Partitioning.ERASED_DAY:
                return "erased people must not come back"
            case Partitioning.STALE_DAY:
                return "a rebuild removes the entry"
            case _:
                return self.never_expire_reason

    @property
    def retention(self) -> timedelta | None:
        """How long a partition stays after its time unless set otherwise; None: forever."""
        of_users = self.partitioning is Partitioning.SNAPSHOT_HOUR and "user_id" in self.schema.columns()
        return USER_SNAPSHOTS_KEPT if of_users and not self.retention_exempt_reason else self.kept_for

    @property
    def kept_at_least(self) -> timedelta:
        """Shortest retention that a setting may choose: later partitions need the earlier ones for so long."""
        match self.partitioning:
            case Partitioning.MONTH | Partitioning.EVENT_DAY:
                return TWO_MONTHS
            case Partitioning.EVENT_HOUR:
                return timedelta(days=1)
            case _:
                return timedelta(hours=1)

    @property
    def primary_key(self) -> list[str]:
        """The columns that identify a row; empty if rows may repeat."""
        return self.schema.primary_key()

    @property
    def total_order(self) -> list[str]:
        """The columns that the published rows are sorted by; rows that are equal in all of them are the same."""
        by = dict.fromkeys((*self.sorted_by, *(self.primary_key or self.polars_schema)))
        return [*by]

    @property
    def polars_schema(self) -> dict[str, pl.DataType]:
        """Column names and polars types, in order."""
        return {name: column.dtype for name, column in self.schema.columns().items()}

    @property
    def column_descriptions(self) -> dict[str, str]:
        """Column names and what they mean, in order."""
        return {name: column.description or "" for name, column in self.schema.columns().items()}

    def empty(self) -> pl.DataFrame:
        """A frame with the right columns and no row."""
        return pl.DataFrame(schema=self.polars_schema)

    def faults(self, frame: pl.DataFrame) -> list[str]:
        """The faults of a frame for this table, each as a short sentence.

        A text may be an Enum: then each of its texts is checked once.
        """
        expected, found = self.polars_schema, dict(frame.schema)
        if list(expected) != list(found):
            missing = sorted(expected.keys() - found.keys())
            unknown = sorted(found.keys() - expected.keys())
            return [f"columns differ (missing {missing}, unknown {unknown}, or another order)"]
        if found == expected and frame.is_empty():
            # The rules are about rows. Of a small product's hours, a third of the tables have none.
            return []
        coded = coded_texts(expected, frame)
        if not coded:
            is_told = found == expected and self._has_unique_key(frame)
            return self._faults(_without_key(self.schema) if is_told else self.schema, frame)
        faults = self._faults(coded_schema(self.schema, tuple(coded.items())), frame)
        for name, dtype in coded.items():
            faults += self._faults_of_texts(name, tuple(dtype.categories))
        if not faults and (rows := repeated_keys(frame, self.primary_key)):
            faults.append(self._broken("primary_key", rows))
        return faults

    @cache  # noqa: B019 - contracts live as long as the process
    def _faults_of_texts(self, name: str, texts: tuple[str, ...]) -> list[str]:
        frame = pl.DataFrame({name: texts}, schema={name: pl.String})
        return self._faults(schema_of_text(self.schema, name), frame)

    def _faults(self, schema: type[dy.Schema], frame: pl.DataFrame) -> list[str]:
        try:
            if fulfils(schema, frame):
                return []
            schema.validate(frame)
        except SchemaError as error:
            return [str(error).splitlines()[0]]
        except ValidationError:
            _, failure = schema.filter(frame)
            return [self._broken(name, rows) for name, rows in failure.counts().items()]
        except pl.exceptions.PolarsError as error:
            return [without_values(error)]
        return []

    def _broken(self, name: str, rows: int) -> str:
        """Say that some rows break a rule."""
        column, _, rule = name.rpartition("|")
        where = f"column {column}: " if column else ""
        what = f"primary key ({', '.join(self.primary_key)})" if rule == "primary_key" else rule
        return f"{where}{what} broken by {rows} row{'s' if rows > 1 else ''}"

    def _has_unique_key(self, frame: pl.DataFrame) -> bool:
        """Return whether all keys differ; False if two hashes are the same by chance.

        Counting different hashes takes 30 ns a row, looking for equal keys 140: nine tenths of a validation.
        """
        if not self.primary_key:
            return False
        return frame.select(self.primary_key).hash_rows().n_unique() == frame.height

    def require(self, frame: pl.DataFrame, partition: str) -> None:
        """Refuse a frame that breaks the contract.

        Raises:
            ContractError: names table, partition and every fault.

        """
        faults = self.faults(frame)
        if faults:
            raise ContractError(
                f"{self.name}, partition {partition}: {'; '.join(faults)}. Nothing was written and the last "
                f"good partition stays; this is a defect of the step that computed it",
            )


@cache
def _without_key(schema: type[dy.Schema]) -> type[dy.Schema]:
    """Return a schema whose rows may repeat, otherwise the same."""
    columns = {name: copy(column) for name, column in schema.columns().items()}
    for column in columns.values():
        column.primary_key = False
    return new_class(schema.__name__, (schema,), {}, lambda namespace: namespace.update(columns))


def duckdb_type(dtype: pl.DataType) -> str:
    """The DuckDB type that holds a polars type without loss.

    Raises:
        NotImplementedError: no contract uses this type.

    """
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMPTZ" if dtype.time_zone else "TIMESTAMP"
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.DataType):
        return f"{duckdb_type(dtype.inner)}[]"
    names = {
        pl.String: "VARCHAR",
        pl.Int32: "INTEGER",
        pl.Int64: "BIGINT",
        pl.Float64: "DOUBLE",
        pl.Boolean: "BOOLEAN",
        pl.Date: "DATE",
    }
    try:
        return names[type(dtype)]
    except KeyError:
        raise NotImplementedError(f"no DuckDB type is known for {dtype}") from None


def duckdb_ddl(contract: Contract, relation: str, may_be_null: Collection[str] = ()) -> list[str]:
    """The statements that create a contract's table: columns, comments, the key.

    Indexes come after the rows.

    Args:
        contract: the table.
        relation: its qualified name in the database, quoted where it needs to be.
        may_be_null: columns that rows of an earlier release lack.

    """
    columns = [
        f"{sql_identifier(name)} {duckdb_type(column.dtype)}"
        f"{'' if column.nullable or name in may_be_null else ' NOT NULL'}"
        for name, column in contract.schema.columns().items()
    ]
    if contract.primary_key:
        columns.append(f"PRIMARY KEY ({_list(contract.primary_key)})")
    return [f"CREATE TABLE {relation} ({', '.join(columns)})", *_comments(contract, "TABLE", relation)]


def duckdb_view(contract: Contract, relation: str, rows: str) -> list[str]:
    """The statements that create a contract's view with its comments.

    Args:
        contract: the table.
        relation: its qualified name in the database, quoted where it needs to be.
        rows: what stands after FROM: a relation that has the columns of the contract.

    """
    select = f"SELECT {_list(contract.polars_schema)} FROM {rows}"  # noqa: S608 - our own names
    return [f"CREATE VIEW {relation} AS {select}", *_comments(contract, "VIEW", relation)]


def duckdb_no_rows(contract: Contract) -> str:
    """A relation with the columns and types of a contract, and no row."""
    columns = (
        f"CAST(NULL AS {duckdb_type(dtype)}) AS {sql_identifier(name)}"
        for name, dtype in contract.polars_schema.items()
    )
    return f"(SELECT {', '.join(columns)} WHERE false)"


def _comments(contract: Contract, kind: str, relation: str) -> list[str]:
    return [
        f"COMMENT ON {kind} {relation} IS {sql_literal(contract.description)}",
        *(
            f"COMMENT ON COLUMN {relation}.{sql_identifier(name)} IS {sql_literal(text)}"
            for name, text in contract.column_descriptions.items()
        ),
    ]


def duckdb_indexes(contract: Contract, relation: str) -> list[str]:
    """The statements that create a contract's further indexes."""
    return [
        f"CREATE INDEX {sql_identifier(f'idx_{contract.name}_{number}')} ON {relation} ({_list(columns)})"
        for number, columns in enumerate(contract.indexes, start=1)
    ]


def _list(names: Iterable[str]) -> str:
    return ", ".join(sql_identifier(name) for name in names)
