"""One declaration per table, and the registries of metrics and messages, from which everything else derives.

Schemas, DDL, checks, documentation and erasure follow from a contract; code that computes rows is in `domain/`.
"""

from ghost_pipeline.contracts.activity import ACTIVITY_CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.contracts.ghost import GHOST_CONTRACTS
from ghost_pipeline.contracts.ngrams import NGRAM_CONTRACTS
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS
from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS

CONTRACTS: dict[str, Contract] = {
    **RAW_CONTRACTS,
    REJECTED_ROWS.name: REJECTED_ROWS,
    **ACTIVITY_CONTRACTS,
    **GHOST_CONTRACTS,
    **NGRAM_CONTRACTS,
    STALE_HOURS.name: STALE_HOURS,
    STALE_MONTHS.name: STALE_MONTHS,
    ERASED_PEOPLE.name: ERASED_PEOPLE,
}
"""Every table of the lake by name, upstream before downstream."""

__all__ = ["CONTRACTS", "Contract"]
