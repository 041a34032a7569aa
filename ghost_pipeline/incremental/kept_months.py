"""What is kept of the people behind monthly figures (G9.7): kept input, like the ledger of releases.

A month's partition holds the states that its rows show, and its file records which row shows which. It is replaced only
by the month's own build, in one rename, and no rebuild of anything else needs to change it. Diaries are kept once, in
the first month that needs them.
"""

from dataclasses import dataclass

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.kept_months import BENCHMARK_ACHIEVERS, BENCHMARK_DIARIES
from ghost_pipeline.domain.ghost.benchmarks.renewal import KeptMonth, rows_as_text, rows_of_text
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Month

_ROWS = "ghost_pipeline.kept_rows"
"""The entry in the metadata of a month's file: which state each row shows."""
_DIARY = "diary"


@dataclass(frozen=True)
class KeptMonths:
    """What is kept of a month and of its nearest neighbours; None for one that was never built."""

    own: KeptMonth | None
    before: KeptMonth | None
    after: KeptMonth | None


def kept_months(lake: Lake, contract: Contract, month: Month) -> KeptMonths:
    """Return what is kept of a month in a table, and of the nearest earlier and later month that were built."""
    kept = lake.months(contract)
    earlier, later = [one for one in kept if one < month], [one for one in kept if one > month]
    return KeptMonths(
        own=_read(lake, contract, month) if month in kept else None,
        before=_read(lake, contract, earlier[-1]) if earlier else None,
        after=_read(lake, contract, later[0]) if later else None,
    )


def _read(lake: Lake, contract: Contract, month: Month) -> KeptMonth | None:
    recorded = lake.metadata(contract, month).get(_ROWS)
    # A file without the record was not written by a build, and says nothing of what has been shown.
    return KeptMonth(rows_of_text(recorded), lake.scan(contract, [month]).collect()) if recorded else None


def write_kept_month(lake: Lake, contract: Contract, month: Month, kept: KeptMonth) -> None:
    """Replace what is kept of a month."""
    lake.write(contract, month, kept.people, metadata={_ROWS: rows_as_text(kept.rows)})


def known_diaries(lake: Lake) -> pl.Series:
    """Return the hashes of all kept diaries."""
    return lake.scan(BENCHMARK_DIARIES).select(_DIARY).collect().to_series()


def kept_diaries(lake: Lake, people: pl.DataFrame) -> pl.DataFrame:
    """Return the diaries of some rows of `benchmark_achievers`: the columns of `benchmark_diaries`.

    Raises:
        LakeError: some are missing.

    """
    wanted = people.select(_DIARY).unique()
    if wanted.is_empty():
        return BENCHMARK_DIARIES.empty()
    found = lake.scan(BENCHMARK_DIARIES).join(wanted.lazy(), on=_DIARY, how="semi").unique(_DIARY).collect()
    if found.height < wanted.height:
        raise LakeError(
            f"{BENCHMARK_DIARIES.name}: lacks {wanted.height - found.height} diaries that {BENCHMARK_ACHIEVERS.name} "
            f"names, so published months cannot be compared. Restore both from the same backup"
        )
    return found


def keep_diaries(lake: Lake, month: Month, new: pl.DataFrame) -> None:
    """Add diaries to those of a month; those that no month names any more are removed from it.

    Args:
        lake: the lake.
        month: the month.
        new: rows of `benchmark_diaries` that no month has yet, sorted by hash.

    """
    named = lake.scan(BENCHMARK_ACHIEVERS).select(_DIARY).unique()
    before = lake.scan(BENCHMARK_DIARIES, [month])
    kept = before.join(named, on=_DIARY, how="semi").collect()
    if (
        new.height
        or not lake.exists(BENCHMARK_DIARIES, month)
        or kept.height < before.select(pl.len()).collect().item()
    ):
        lake.write(BENCHMARK_DIARIES, month, pl.concat([kept, new]).sort(_DIARY))
