"""Keystrokes that have expired, and what was extracted from them: from then on it is kept input, and stays.

Hours whose keystrokes have expired are computed again like others, for example if the source delivers n-grams.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SESSION_KEYSTROKES
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import FIRST_INSTANT, Hour


def keystrokes_since(lake: Lake, policy: ReadPolicy) -> datetime:
    """Return the instant before which keystrokes have expired, or are not in the lake any more after they did."""
    first, expired = lake.first_hour(SESSION_KEYSTROKES), policy.expired_until(lake, SESSION_KEYSTROKES)
    return max([one for one in (first and first.start, expired) if one], default=FIRST_INSTANT)


def extracted_before(
    lake: Lake, contract: Contract, hours: Sequence[Hour], others: Sequence[pl.DataFrame]
) -> pl.DataFrame:
    """Return the rows that were extracted from keystrokes which have expired since: they are kept input.

    Args:
        lake: the lake.
        contract: the table.
        hours: hours whose keystrokes have expired.
        others: `session_id` of the sessions whose rows come from elsewhere.

    """
    extracted = lake.scan(contract, hours).filter(pl.col("key_index").is_not_null())
    elsewhere = pl.concat([one.lazy().select("session_id") for one in others]).unique()
    return extracted.join(elsewhere, on="session_id", how="anti", maintain_order="left").collect()
