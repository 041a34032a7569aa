"""The contract of what has to be computed again: hours that were built before their events changed (G1.8)."""

import dataframely as dy

from ghost_pipeline.contracts.columns import instant
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning


class StaleHours(dy.Schema):
    """Hours that were built before something changed that they show, until a backfill builds them again (G1.8)."""

    table = dy.String(primary_key=True, min_length=1, description="The table, `cohort_ghost_data` or another")
    hour = instant("Start of the hour", primary_key=True)
    changed_from = instant(
        "Earliest instant at which events or versions have changed since it was built; null: nothing has",
        nullable=True,
    )
    noticed_at = instant("as_of of the run that noticed it last", nullable=True)
    being_built = dy.Bool(description="Whether a run has begun to build it, or was killed while it did")
    changed_meanwhile = dy.Bool(description="Whether something has changed since that run began")


STALE_HOURS = Contract(
    name="stale_hours",
    schema=StaleHours,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.STALE_DAY,
    grain="one hour of a table that has to be computed again, or is being computed",
)
