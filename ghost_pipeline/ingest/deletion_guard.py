"""The guard against losing rows: a source that has suddenly lost many rows of an hour is not believed."""

from collections.abc import Callable

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, SOURCE_TABLES
from ghost_pipeline.contracts.source import Kind
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.read_policy import ALL_PERCENT, ReadPolicy
from ghost_pipeline.ingest.validation import REASON
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour

StillThere = Callable[[pl.DataFrame], pl.DataFrame]
"""Of the identities of some rows, those that the same read places in other hours."""


def require_rows_stay(
    lake: Lake,
    contract: Contract,
    changed: list[Hour],
    rows: pl.DataFrame,
    rejected_ids: pl.DataFrame,
    policy: ReadPolicy,
    still_there: StillThere = pl.DataFrame.clear,
) -> None:
    """Refuse to remove more rows of an hour than are likely to have been deleted.

    A row counts as missing if the source no longer has it, and also if the source still has it but it is now rejected:
    a new format in the source would empty the lake. Only rows above the limit of minutes do not count.

    Args:
        lake: the lake that has the rows.
        contract: the table.
        changed: the hours that are to be replaced.
        rows: the good rows that replace them.
        rejected_ids: `identity_columns` and `_reason` of the rows that the same read rejected.
        policy: the share of an hour's rows, and their number, from which on a run stops.
        still_there: finds rows that have moved to hours whose rows are not in `rows`.

    Raises:
        SourceError: names the first such hour, and what to do.

    """
    identity = identity_columns(contract)
    for one in changed:
        kept = lake.scan(contract, [one])
        if SOURCE_TABLES[contract.name].of_session:
            # The rows of a session that is gone go with it.
            kept = kept.join(lake.scan(PRACTICE_SESSIONS, [one]), on="session_id", how="semi")
        before = kept.select(identity).collect()
        missing = before.join(rows.select(identity), on=identity, how="anti")
        if missing.height:
            missing = missing.join(still_there(missing.unique()), on=identity, how="anti")
        is_too_long = pl.col(REASON) == _too_long(contract, policy)
        missing = missing.join(rejected_ids.filter(is_too_long), on=identity, how="anti")
        spoilt = missing.join(rejected_ids, on=identity, how="semi").height
        share = missing.height * ALL_PERCENT
        if missing.height >= policy.min_removed_rows and share > policy.max_removed_percent * before.height:
            raise SourceError(
                f"{contract.name}, partition {one.key}: {_told(missing.height - spoilt, spoilt, before.height)}, "
                f"more than GHOST_MAX_REMOVED_PERCENT ({policy.max_removed_percent}). Nothing was written. "
                f"{_remedy(missing.height - spoilt, spoilt)}",
            )


def identity_columns(contract: Contract) -> list[str]:
    """Return the key of a table; if its rows may repeat, the id of their session."""
    return list(SOURCE_TABLES[contract.name].key) or ["session_id"]


def _too_long(contract: Contract, policy: ReadPolicy) -> str:
    """Return the reason of a row whose only fault is that it is above the limit of minutes."""
    limited = [column.name for column in SOURCE_TABLES[contract.name].columns if column.kind is Kind.MINUTES]
    return f"{''.join(limited)} is above {policy.max_task_minutes}"


def _told(deleted: int, spoilt: int, before: int) -> str:
    if not spoilt:
        return f"{deleted} of {before} rows are no longer in the source"
    if not deleted:
        return f"{spoilt} of {before} rows that were good are now rejected"
    return f"{deleted} of {before} rows are no longer in the source and {spoilt} that were good are now rejected"


def _remedy(deleted: int, spoilt: int) -> str:
    remedies = []
    if spoilt:
        remedies.append("`ghost-pipeline doctor` gives the reasons: mend the source and run again")
    if deleted:
        remedies.append(
            "If the source drops old rows, set GHOST_SOURCE_KEEPS to the hours that it keeps; if it is a replica, wait "
            "until it has caught up"
        )
    return f"{'. '.join(remedies)}. If the rows are gone on purpose, run again with --accept-deletions"
