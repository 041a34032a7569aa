"""The page `docs/data_quality.md`: for every table, what stops a run and what warns."""

from collections.abc import Iterator
from datetime import timedelta

from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, SOURCE_TABLES
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.benchmarks import STABLE
from ghost_pipeline.defs.checks import COVERAGE, HOURS_APART, PERIOD_OVER_PERIOD, STRUCTURE, VOLUME
from ghost_pipeline.defs.freshness import FRESHNESS
from ghost_pipeline.defs.raw import ODD_KEYSTROKES
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.domain.shared.comparisons import CHANCE
from ghost_pipeline.domain.shared.period_figures import FEW_MEMBERS
from ghost_pipeline_tests.docs.tables_page import GENERATED

_BLOCKS = f"""\
## What blocks

A failed asset writes nothing: the previous partition stays, no downstream table is computed, and `retention` and
`published_database` do not run, so apps keep what was published. The run has failed, and one line names table,
partition, culprit and remedy. The next successful run repairs all of it.

- **The source cannot be read**: a server refuses, a table or a column is missing, a file is damaged, or a table is
  gone although the lake has rows of it.
- **Too much is gone**: more than `GHOST_MAX_REMOVED_PERCENT` of an hour's rows.
- **Hours are missing** that a figure is computed from.
- **`{STRUCTURE.name}`**: {STRUCTURE.description}

A single row that breaks a rule never blocks: it goes to `rejected_rows` with the reason, and `{COVERAGE.name}` warns
([Bad input](bad_input.md))."""


_LIMITS = f"""\
Chance alone is no finding: a count that is off by at most {CHANCE} times its square root passes, and averages of fewer
than {FEW_MEMBERS} people are not compared. In a run over a range of hours, the last hour and every {HOURS_APART}th hour
before it are checked. The limits are settings (`ghost-pipeline settings`).

## Table by table

Every table has `{STRUCTURE.name}`, which blocks. Where `{COVERAGE.name}` has something to count, it warns. A result
belongs to its partition, so a run of older hours changes none of the newest ones; `{FRESHNESS.name}`, and what
`{COVERAGE.name}` counts in the lake, are true of now. *Fresh*: how old the newest partition may be by the wall clock,
for `{FRESHNESS.name}` and `ghost-pipeline status`. *Kept*: how long partitions
stay ([retention](operations.md#retention)); *fixed* means that no setting changes it ([Tables](tables.md) has the
reason).
"""


def data_quality_page() -> str:
    """The page: for every table, what stops a run and what warns."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield "# Data quality"
    yield ""
    yield GENERATED.replace("the contracts; change those", "the steps and their checks; change those")
    yield ""
    yield _BLOCKS
    yield ""
    yield "## What warns"
    yield ""
    yield "A warning is on the asset's page in Dagster, with the figures found and expected; the run continues."
    yield ""
    yield "| check | warns |"
    yield "|---|---|"
    for check in (COVERAGE, VOLUME, PERIOD_OVER_PERIOD, STABLE, ODD_KEYSTROKES, FRESHNESS):
        yield f"| `{check.name}` | {check.description} |"
    yield ""
    yield _LIMITS
    yield f"| table | blocks, besides `{STRUCTURE.name}` | `{COVERAGE.name}` counts | warns as well | fresh | kept |"
    yield "|---|---|---|---|---|---|"
    for table in TABLE_ASSETS:
        yield _row(table)
    yield ""


def _row(table: TableAsset) -> str:
    contract, age = table.contract, table.contract.max_age
    own = [f"`{check.name}`" for check in table.checks]
    own += [f"`{one.check.name}` ({', '.join(one.figures)})" for one in table.comparisons]
    fresh = f"{age.days} d" if age >= timedelta(days=2) else f"{age // timedelta(hours=1)} h"
    kept = (
        "fixed"
        if contract.retention_exempt_reason
        else f"{contract.retention.days} d"
        if contract.retention
        else "permanently"
    )
    return f"| `{contract.name}` | {_blocks(table)} | {table.counts} | {', '.join(own)} | {fresh} | {kept} |"


def _blocks(table: TableAsset) -> str:
    name = table.contract.name
    if name in SOURCE_TABLES:
        return "the source" if SOURCE_TABLES[name].versioned else "the source, too much is gone"
    if table.contract is COHORT_GHOST_RELEASE:
        return "`user_ghost_stats` of the hour is missing"
    reads_events = any(one.partitioning is Partitioning.EVENT_HOUR for one in table.upstream)
    return "hours are missing" if reads_events and set(table.upstream) != set(RAW_CONTRACTS.values()) else ""
