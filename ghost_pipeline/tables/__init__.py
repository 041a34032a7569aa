"""One contract per table, declared once (see `contract.py`)."""

from ghost_pipeline.tables.activity import ACTIVITY_CONTRACTS
from ghost_pipeline.tables.contract import Contract
from ghost_pipeline.tables.erasure import ERASED_PEOPLE
from ghost_pipeline.tables.ghost import GHOST_CONTRACTS
from ghost_pipeline.tables.ngrams import NGRAM_CONTRACTS
from ghost_pipeline.tables.raw import RAW_CONTRACTS, REJECTED_ROWS
from ghost_pipeline.tables.staleness import STALE_HOURS

CONTRACTS: dict[str, Contract] = {
    **RAW_CONTRACTS,
    REJECTED_ROWS.name: REJECTED_ROWS,
    **ACTIVITY_CONTRACTS,
    **GHOST_CONTRACTS,
    **NGRAM_CONTRACTS,
    STALE_HOURS.name: STALE_HOURS,
    ERASED_PEOPLE.name: ERASED_PEOPLE,
}
"""Every table of the lake by name, upstream before downstream."""

__all__ = ["CONTRACTS", "Contract"]
