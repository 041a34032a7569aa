"""The contract of stale hours: those whose inputs changed after they were built (G1.8)."""

import dataframely as dy

from ghost_pipeline.contracts.columns import instant
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning


class StaleHours(dy.Schema):
    """Hours whose inputs changed after they were built, until a backfill builds them again."""

    table = dy.String(primary_key=True, min_length=1, description="The table, `cohort_ghost_data` or another")
    hour = instant("Start of the hour", primary_key=True)
    changed_from = instant(
        "Earliest instant at which events or versions have changed since it was built; null if none has",
        nullable=True,
    )
    noticed_at = instant("as_of of the last run that noticed a change", nullable=True)
    being_built = dy.Bool(description="Whether a run is building it, or was killed while building it")
    changed_meanwhile = dy.Bool(description="Whether an input has changed since that run began")


STALE_HOURS = Contract(
    name="stale_hours",
    schema=StaleHours,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.STALE_DAY,
    grain="one hour of a table that is stale or being built",
)
