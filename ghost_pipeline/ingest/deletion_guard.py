"""The guard against losing rows: a source that has suddenly lost many rows of an hour is not believed."""

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, SOURCE_TABLES
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.read_policy import ALL_PERCENT
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour

FEW_REJECTED = 10
"""Fewer rows of an hour may become rejected, whatever their share: a limit was lowered, or some rows were edited."""


def require_rows_stay(
    lake: Lake,
    contract: Contract,
    changed: list[Hour],
    rows: pl.DataFrame,
    rejected_ids: pl.DataFrame,
    max_removed_percent: int,
) -> None:
    """Refuse to remove more rows of an hour than are likely to have been deleted.

    Args:
        lake: the lake that has the rows.
        contract: the table.
        changed: the hours that are to be replaced.
        rows: the good rows that replace them.
        rejected_ids: `identity_columns` of the rows that the same read rejected. They leave the lake, but the source
            still has them, as after a limit was lowered.
        max_removed_percent: the share of an hour's rows that may be gone.

    Raises:
        SourceError: names the first such hour, and what to do. So does an hour in which as large a share, and at least
            `FEW_REJECTED` rows, have become rejected rows: a new format in the source would empty the lake.

    """
    identity = identity_columns(contract)
    in_source = pl.concat([rows.select(identity), rejected_ids.select(identity)])
    for one in changed:
        kept = lake.scan(contract, [one])
        if SOURCE_TABLES[contract.name].of_session:
            # The rows of a session that is gone go with it.
            kept = kept.join(lake.scan(PRACTICE_SESSIONS, [one]), on="session_id", how="semi")
        before = kept.select(identity).collect()
        rejected = before.join(rejected_ids.select(identity), on=identity, how="semi")
        rejected = rejected.join(rows.select(identity), on=identity, how="anti")
        if rejected.height >= FEW_REJECTED and rejected.height * ALL_PERCENT > max_removed_percent * before.height:
            raise SourceError(
                f"{contract.name}, partition {one.key}: the source now spoils {rejected.height} of the {before.height} "
                f"rows that were good before, more than GHOST_MAX_REMOVED_PERCENT ({max_removed_percent}). Nothing was "
                f"written. `ghost-pipeline doctor` gives the reasons: mend the source and run again; if the rows are "
                f"wrong on purpose, run again with --accept-deletions",
            )
        gone = before.join(in_source, on=identity, how="anti").height
        if gone * ALL_PERCENT > max_removed_percent * before.height:
            raise SourceError(
                f"{contract.name}, partition {one.key}: {gone} of {before.height} rows are no longer in the source, "
                f"more than GHOST_MAX_REMOVED_PERCENT ({max_removed_percent}). Nothing was written. If they were "
                f"deleted on purpose, run again with --accept-deletions; if the source drops old rows, set "
                f"GHOST_SOURCE_KEEPS to the hours that it keeps; if it is a replica, wait until it has caught up",
            )


def identity_columns(contract: Contract) -> list[str]:
    """Return the key of a table; if its rows may repeat, the id of their session."""
    return list(SOURCE_TABLES[contract.name].key) or ["session_id"]
