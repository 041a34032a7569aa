"""The specification's tables in an application's PostgreSQL, and how they differ from the specification's DDL.

Columns, names, defaults, keys and indexes are the specification's. If a column of its DDL cannot
hold every row, the wider type is declared with the reason. The executed DDL and `docs/postgres_tables.md` follow.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CohortMetric
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.published import PUBLICATION, TABLE_INFO
from ghost_pipeline.sql_quoting import sql_literal

_TEXT, _INT, _LONG, _DOUBLE = pl.String(), pl.Int32(), pl.Int64(), pl.Float64()
_TIMESTAMP, _BAND = pl.Datetime("us"), pl.Decimal(2, 1)

UTC_TEXT = "%Y-%m-%dT%H:%M:%SZ"
"""Format of an instant in a column that the specification declares as TEXT; texts sort as the instants do."""


@dataclass(frozen=True)
class SpecifiedColumn:
    """A column of the specification."""

    name: str
    dtype: pl.DataType
    """Of the rows that are sent; the server casts them to the column's own type."""
    specified: str
    """Its type and what follows it, as the specification has them."""
    widened: str | None = None
    """The type as executed, if it differs."""
    why: str = ""
    """The reason for that."""
    description: str = ""
    """Description, if it is not that of the contract's column of that name."""

    @property
    def definition(self) -> str:
        """The definition that is executed."""
        return f"{self.name} {self.widened or self.specified}"

    @property
    def may_be_added(self) -> bool:
        """Whether a table with rows can gain it."""
        return "NOT NULL" not in self.definition and "PRIMARY KEY" not in self.definition


@dataclass(frozen=True)
class SpecifiedConstraint:
    """A constraint of the specification that follows the columns."""

    specified: str
    executed: str | None = None
    """None if it is left out."""
    why: str = ""


@dataclass(frozen=True)
class SpecifiedTable:
    """A table of the specification, or of ours beside them."""

    name: str
    contract: Contract
    """The contract of its figures, which describes the columns."""
    description: str
    """Which rows it holds."""
    columns: tuple[SpecifiedColumn, ...]
    constraints: tuple[SpecifiedConstraint, ...] = ()
    indexes: tuple[tuple[str, str], ...] = ()
    """Name and columns."""
    hourly: bool = False
    """Whether every hour carries its as_of on."""

    @property
    def key(self) -> str:
        """The column that identifies a row."""
        return self.columns[0].name

    @property
    def names(self) -> list[str]:
        """The columns, in order."""
        return [column.name for column in self.columns]

    @property
    def polars_schema(self) -> dict[str, pl.DataType]:
        """Column names and the types in which rows are sent."""
        return {column.name: column.dtype for column in self.columns}

    @property
    def differences(self) -> Iterator[tuple[str, str, str | None, str]]:
        """Differences from the specification: column or constraint, specified, executed (None if left out), why."""
        for column in self.columns:
            if column.widened:
                yield column.name, column.specified, column.widened, column.why
        for constraint in self.constraints:
            if constraint.executed != constraint.specified:
                yield "constraint", constraint.specified, constraint.executed, constraint.why

    def ddl(self, prefix: str = "") -> list[str]:
        """The statements that make the table, its comments and its indexes.

        Args:
            prefix: the schema, quoted where it needs to be, and a dot; without it the search_path decides.

        """
        relation = f"{prefix}{self.name}"
        lines = [column.definition for column in self.columns]
        lines += [constraint.executed for constraint in self.constraints if constraint.executed]
        return [
            f"CREATE TABLE {relation} (\n    {f',{chr(10)}    '.join(lines)}\n)",
            f"COMMENT ON TABLE {relation} IS {sql_literal(self.description)}",
            *(self._comment(relation, one) for one in self.columns),
            *(f"CREATE INDEX {name} ON {relation} ({columns})" for name, columns in self.indexes),
        ]

    def additions(self, prefix: str, present: Container[str]) -> list[str]:
        """The statements that add the columns that a table of an earlier release lacks, as far as it can gain them.

        Args:
            prefix: see `ddl`.
            present: the columns that the table has.

        """
        relation = f"{prefix}{self.name}"
        return [
            statement
            for one in self.columns
            if one.name not in present and one.may_be_added
            for statement in (f"ALTER TABLE {relation} ADD COLUMN {one.definition}", self._comment(relation, one))
        ]

    def _comment(self, relation: str, column: SpecifiedColumn) -> str:
        told = column.description or self.contract.column_descriptions[column.name]
        return f"COMMENT ON COLUMN {relation}.{column.name} IS {sql_literal(told)}"


def _ints(names: Iterable[str]) -> tuple[SpecifiedColumn, ...]:
    return tuple(SpecifiedColumn(name, _INT, "INT") for name in names)


_UUID = "UUID PRIMARY KEY DEFAULT gen_random_uuid()"
_NOW = "TIMESTAMP DEFAULT NOW()"
_EIGHT_BYTES = "REAL is eight bytes in SQLite and four in PostgreSQL, which keep six digits"
_NO_FOREIGN_KEY = (
    "A summary of a keyboard or a typist that the application does not list is a finding, not an error; and the "
    "application's tables need not be in this database"
)


def _cohort_figure(metric: CohortMetric) -> SpecifiedColumn:
    executed = "INT" if metric.statistic == "percentile" else f"DECIMAL({metric.precision},{metric.scale})"
    differs = executed != metric.specified
    return SpecifiedColumn(
        metric.name, metric.dtype, metric.specified, executed if differs else None, metric.why_wider if differs else ""
    )


SPECIFIED_GHOST_BENCHMARKS = SpecifiedTable(
    name=GHOST_BENCHMARKS.name,
    contract=GHOST_BENCHMARKS,
    description="What people who reached a band had done by each day of their journey: the month that serves answers, "
    "for the people who reached the band and not the next one (population interval).",
    columns=(
        SpecifiedColumn("id", _TEXT, _UUID),
        SpecifiedColumn("target_band", _BAND, "DECIMAL(2,1) NOT NULL"),
        SpecifiedColumn("starting_skill", _BAND, "DECIMAL(2,1) NOT NULL"),
        SpecifiedColumn("day_number", _INT, "INT NOT NULL"),
        *_ints(metric.column_name for metric in BENCHMARK_METRICS),
        *_ints(("success_percentile", "sample_size")),
        SpecifiedColumn("created_at", _TIMESTAMP, _NOW, description="as_of at which the row was first written, UTC"),
        SpecifiedColumn("updated_at", _TIMESTAMP, _NOW, description="as_of at which the row was last written, UTC"),
    ),
    constraints=(
        SpecifiedConstraint(
            "UNIQUE (target_band, starting_skill, day_number, success_percentile)",
            "UNIQUE (target_band, starting_skill, day_number, success_percentile)",
        ),
    ),
    indexes=(("idx_ghost_benchmarks_lookup", "target_band, starting_skill, day_number"),),
)

SPECIFIED_COHORT_GHOST_DATA = SpecifiedTable(
    name=COHORT_GHOST_DATA.name,
    contract=COHORT_GHOST_RELEASE,
    description="The figures of each cohort that peers may see at the end of the newest hour. A cohort "
    "that is suppressed, or whose release is too old, has no row.",
    columns=(
        SpecifiedColumn("id", _TEXT, _UUID, description="uuid5 of (cohort_id, snapshot_date, snapshot_hour)"),
        SpecifiedColumn(
            "cohort_id",
            _TEXT,
            "UUID REFERENCES cohorts(id)",
            "TEXT",
            "Ids are text, and not every source's are UUIDs; a cohort that users name and the application does not "
            "list still has figures",
        ),
        SpecifiedColumn(
            "snapshot_date",
            pl.Date(),
            "DATE NOT NULL",
            description="Date, UTC, of the newest hour: the figures are shown from its end on",
        ),
        SpecifiedColumn("snapshot_hour", _INT, "INT DEFAULT 0", description="The hour of that date"),
        SpecifiedColumn("active_member_count", _INT, "INT"),
        *map(_cohort_figure, (metric for metric in COHORT_METRICS if metric.specified)),
        SpecifiedColumn(
            "updated_at",
            _TIMESTAMP,
            _NOW,
            description="as_of of the hour that released the figures, UTC; it may be an earlier hour",
        ),
    ),
    constraints=(
        SpecifiedConstraint(
            "UNIQUE (cohort_id, snapshot_date)",
            "UNIQUE (cohort_id, snapshot_date, snapshot_hour)",
            "A snapshot is that of an hour",
        ),
    ),
    indexes=(("idx_cohort_ghost_date", "cohort_id, snapshot_date DESC"),),
    hourly=True,
)

SPECIFIED_NGRAM_SPEED_SUMMARIES = SpecifiedTable(
    name=NGRAM_SPEED_SUMMARIES.name,
    contract=NGRAM_SPEED_SUMMARIES,
    description="Current speed of every typist on every n-gram at the end of the newest hour.",
    columns=(
        SpecifiedColumn("summary_id", _TEXT, "TEXT PRIMARY KEY"),
        SpecifiedColumn("user_id", _TEXT, "TEXT NOT NULL"),
        SpecifiedColumn("keyboard_id", _TEXT, "TEXT NOT NULL"),
        SpecifiedColumn("ngram_text", _TEXT, "TEXT NOT NULL"),
        SpecifiedColumn("ngram_size", _INT, "INTEGER NOT NULL"),
        *(
            SpecifiedColumn(name, _DOUBLE, "REAL NOT NULL", "DOUBLE PRECISION NOT NULL", _EIGHT_BYTES)
            for name in ("decaying_average_ms", "target_speed_ms", "target_performance_pct")
        ),
        SpecifiedColumn("meets_target", pl.Boolean(), "BOOLEAN NOT NULL"),
        SpecifiedColumn("sample_count", _INT, "INTEGER NOT NULL"),
        SpecifiedColumn(
            "last_updated", _TEXT, "TEXT NOT NULL", description="as_of at which the row last changed, ISO 8601, UTC"
        ),
        SpecifiedColumn(
            "created_at",
            _TEXT,
            "TEXT NOT NULL",
            description="as_of at which the n-gram was first summarised, ISO 8601, UTC",
        ),
    ),
    constraints=(
        SpecifiedConstraint("FOREIGN KEY (user_id) REFERENCES users(user_id) ON DELETE CASCADE", None, _NO_FOREIGN_KEY),
        SpecifiedConstraint(
            "FOREIGN KEY (keyboard_id) REFERENCES keyboards(keyboard_id) ON DELETE CASCADE", None, _NO_FOREIGN_KEY
        ),
        SpecifiedConstraint(
            "UNIQUE (user_id, keyboard_id, ngram_text, ngram_size)",
            "UNIQUE (user_id, keyboard_id, ngram_text, ngram_size)",
        ),
    ),
    indexes=(
        ("idx_ngram_summaries_user_keyboard", "user_id, keyboard_id"),
        ("idx_ngram_summaries_performance", "target_performance_pct, meets_target"),
    ),
    hourly=True,
)

SPECIFIED_TABLES = {
    table.name: table
    for table in (SPECIFIED_GHOST_BENCHMARKS, SPECIFIED_COHORT_GHOST_DATA, SPECIFIED_NGRAM_SPEED_SUMMARIES)
}
"""The tables of the specification that a publication replaces."""

GHOST_TABLE_INFO = SpecifiedTable(
    name="ghost_table_info",
    contract=TABLE_INFO,
    description="The tables that ghost-pipeline replaces, and how fresh each is.",
    columns=(
        SpecifiedColumn("table_name", _TEXT, "TEXT PRIMARY KEY", description="Name of the table"),
        SpecifiedColumn(
            "as_of",
            pl.Datetime("us", "UTC"),
            "TIMESTAMPTZ",
            description="as_of of its figures; null if there are none yet",
        ),
        SpecifiedColumn("rows", _LONG, "BIGINT NOT NULL"),
        SpecifiedColumn(
            "inputs_hash",
            _TEXT,
            "TEXT NOT NULL",
            description="SHA-256 over the lake files that the table of that name in ghost.duckdb was built from, "
            "in order",
        ),
    ),
)
"""Our own table beside them; it corresponds to `table_info` in the published database."""

GHOST_PUBLICATION = SpecifiedTable(
    name="ghost_publication",
    contract=PUBLICATION,
    description="The publication that the tables hold, one row; the table `publication` in ghost.duckdb and "
    "publication.json name theirs.",
    columns=(
        SpecifiedColumn("id", _TEXT, "TEXT PRIMARY KEY"),
        SpecifiedColumn("as_of", pl.Datetime("us", "UTC"), "TIMESTAMPTZ"),
    ),
)
"""Our own table beside them; it corresponds to `publication` in the published database."""

OWN_TABLES = (GHOST_TABLE_INFO, GHOST_PUBLICATION)
"""The tables beside those of the specification."""
