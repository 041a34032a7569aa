"""The contracts of stale hours and months: those whose inputs changed after they were built (G1.8)."""

import dataframely as dy

from ghost_pipeline.contracts.columns import instant
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning

_CHANGED_FROM = "Earliest instant at which events or versions have changed since it was built; null if none has"
_NOTICED_AT = "as_of of the last run that noticed a change"
_BEING_BUILT = "Whether a run is building it, or was killed while building it"
_CHANGED_MEANWHILE = "Whether an input has changed since that run began"


class StaleHours(dy.Schema):
    """Hours whose inputs changed after they were built, until a backfill builds them again."""

    table = dy.String(primary_key=True, min_length=1, description="The table, `cohort_ghost_data` or another")
    hour = instant("Start of the hour", primary_key=True)
    changed_from = instant(_CHANGED_FROM, nullable=True)
    noticed_at = instant(_NOTICED_AT, nullable=True)
    being_built = dy.Bool(description=_BEING_BUILT)
    changed_meanwhile = dy.Bool(description=_CHANGED_MEANWHILE)


class StaleMonths(dy.Schema):
    """Months whose inputs changed after they were built, until a run builds them again."""

    table = dy.String(primary_key=True, min_length=1, description="The table, `ghost_benchmarks` or another")
    month = instant("Start of the month", primary_key=True)
    changed_from = instant(_CHANGED_FROM, nullable=True)
    noticed_at = instant(_NOTICED_AT, nullable=True)
    being_built = dy.Bool(description=_BEING_BUILT)
    changed_meanwhile = dy.Bool(description=_CHANGED_MEANWHILE)


STALE_HOURS = Contract(
    name="stale_hours",
    schema=StaleHours,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.STALE_DAY,
    grain="one hour of a table that is stale or being built",
)
STALE_MONTHS = Contract(
    name="stale_months",
    schema=StaleMonths,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.STALE_DAY,
    grain="one month of a table that is stale or being built",
)
