"""How long the partitions of a table are kept: as its contract says, or as `GHOST_RETENTION` does."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.errors import SettingsError
from ghost_pipeline.windows import shown_length

Chosen = Mapping[str, timedelta | None]
"""The setting: for each table how long it is kept, None forever."""


def retention(contract: Contract, chosen: Chosen) -> timedelta | None:
    """How long a partition stays; None: forever."""
    return chosen.get(contract.name, contract.retention)


def gone_until(contract: Contract, chosen: Chosen, newest: datetime) -> datetime | None:
    """The instant up to which partitions have ended that are no longer kept; None: all are.

    Args:
        contract: the table.
        chosen: the setting.
        newest: the end of its newest partition; with no other clock, a table that no run continues loses nothing.

    """
    kept = retention(contract, chosen)
    return None if kept is None else newest - kept


def require_removable(chosen: Chosen) -> None:
    """Refuse a setting that would remove partitions that are needed.

    Raises:
        SettingsError: names the first table that is unknown, must be kept, or is needed for longer.

    """
    for table, kept in chosen.items():
        contract = CONTRACTS.get(table)
        if contract is None:
            raise SettingsError(f"GHOST_RETENTION: {table} is not a table; docs/tables.md lists them")
        if kept is None:
            continue
        if contract.retention_exempt_reason:
            raise SettingsError(
                f"GHOST_RETENTION: {table} is kept forever, because {contract.retention_exempt_reason} "
                f"(got {shown_length(kept)})",
            )
        if kept < contract.kept_at_least:
            raise SettingsError(
                f"GHOST_RETENTION: {table} is kept for at least {shown_length(contract.kept_at_least)}, which later "
                f"partitions need (got {shown_length(kept)})",
            )
