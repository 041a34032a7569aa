"""The contract of what has to be computed again: hours that were built before their events changed (G1.8)."""

import dataframely as dy

from ghost_pipeline.tables.columns import instant
from ghost_pipeline.tables.contract import Contract, Layer, Partitioning


class StaleHours(dy.Schema):
    """Hours of snapshots that were built before something changed that they show. A backfill takes them off (G1.8)."""

    table = dy.String(primary_key=True, min_length=1, description="The snapshot, `cohort_ghost_data` or another")
    hour = instant("Start of the hour that is stale", primary_key=True)
    changed_from = instant("Earliest instant at which events or versions have changed since it was built")
    noticed_at = instant("as_of of the run that noticed it last")


STALE_HOURS = Contract(
    name="stale_hours",
    schema=StaleHours,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.STALE_DAY,
    grain="one hour of a snapshot that has to be computed again",
)
