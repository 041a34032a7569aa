"""Assets that look over the other tables: rejected rows, stale hours and months, erased people."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, GHOST_MESSAGES
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS, USER_PROGRESS, USERS
from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.defs.partitions import chunks
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult, count
from ghost_pipeline.domain.shared.rejections import rejections_by_reason
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.incremental.stale_months import stale_months
from ghost_pipeline.windows import Hour


def summarise_rejected_rows(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Count the rejected rows of the lake; the assets that read the source have written them."""
    for _ in hours:
        reasons = rejections_by_reason(run.lake.scan(REJECTED_ROWS)).collect()
        yield TableResult(rows=int(reasons["rows"].sum()), findings=_by_reason(reasons), sample=reasons)


def _by_reason(reasons: pl.DataFrame) -> Mapping[str, int]:
    return {f"{table}: {reason}": rows for table, reason, rows in reasons.iter_rows()}


def rejected_rows_now(run: RunContext) -> Mapping[str, int]:
    """Count the rejected rows of the lake by table and reason."""
    return _by_reason(rejections_by_reason(run.lake.scan(REJECTED_ROWS)).collect())


def list_stale_hours(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """List the hours whose inputs changed after they were built; the assets that noticed have written them."""
    for _ in hours:
        stale = stale_hours(run.lake)
        yield TableResult(
            rows=stale.height,
            findings=_by_table(stale, "stale_hours"),
            metadata={"to_rebuild": as_table(_stretches(stale))},
        )


def list_stale_months(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """List the months that have to be built again, and why."""
    for _ in hours:
        stale = stale_months(run.lake, run.settings)
        yield TableResult(
            rows=stale.height,
            findings=_by_table(stale, "stale_months"),
            metadata={"to_rebuild": as_table(stale.select("table", "month", "reason"))},
        )


def count_tombstones(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Count the erased ids; `ghost-pipeline erase` has written them."""
    for _ in hours:
        yield TableResult(rows=count(run.lake.scan(ERASED_PEOPLE)), findings=interrupted_erasures_now(run))


def interrupted_erasures_now(run: RunContext) -> Mapping[str, int]:
    """Count the ids whose erasure was interrupted."""
    interrupted = run.lake.scan(ERASED_PEOPLE).filter(pl.col("under_way").is_not_null())
    return {"ids_whose_erasure_was_interrupted": count(interrupted)}


def _by_table(stale: pl.DataFrame, what: str) -> Mapping[str, int]:
    return {f"{table}: {what}": rows for table, rows in stale.group_by("table").len().sort("table").rows()}


def _stretches(stale: pl.DataFrame) -> pl.DataFrame:
    """Return stale hours as consecutive stretches: table, from, to, hours."""
    rows = [
        (table, stretch[0].start, stretch[-1].as_of, len(stretch))
        for (table,), part in stale.partition_by("table", as_dict=True, maintain_order=True).items()
        for stretch in chunks((Hour.containing(start) for start in part["hour"]), part.height)
    ]
    return pl.DataFrame(rows, schema=["table", "from", "to", "hours"], orient="row")


OPERATIONS_ASSETS = (
    TableAsset(
        REJECTED_ROWS,
        tuple(RAW_CONTRACTS.values()),
        summarise_rejected_rows,
        counts="the rejected rows of the lake by table and reason",
        counted_now=rejected_rows_now,
    ),
    TableAsset(
        STALE_HOURS,
        (COHORT_GHOST_DATA, GHOST_MESSAGES, NGRAM_SPEED_SUMMARIES),
        list_stale_hours,
        counts="hours to rebuild, by table",
        counted_now=lambda run: _by_table(stale_hours(run.lake), "stale_hours"),
    ),
    TableAsset(
        STALE_MONTHS,
        (USERS, USER_PROGRESS),
        list_stale_months,
        counts="months to rebuild, by table",
        counted_now=lambda run: _by_table(stale_months(run.lake, run.settings), "stale_months"),
    ),
    TableAsset(
        ERASED_PEOPLE,
        tuple(RAW_CONTRACTS.values()),
        count_tombstones,
        counts="ids whose erasure was interrupted",
        counted_now=interrupted_erasures_now,
    ),
)
