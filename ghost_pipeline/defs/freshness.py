"""The check `freshness`: compares the newest partition of a table in the lake with the age that its contract allows.

Dagster's own freshness policy looks at the last materialization, whichever its partition: a backfill of 2024 would turn
a table green whose newest hour is months old. Here only the newest partition counts, as in `ghost-pipeline status`.

Every run reports the check for its tables. Between runs the sensor reports a table whose result has changed, because
a table becomes late without a run.
"""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.defs.checks import Check, evaluation
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import HOUR

FRESHNESS = Check(
    "freshness",
    "Fails if the newest partition in the lake is older than the table's contract allows, by the wall clock. A run of "
    "older hours changes nothing. Passes if there is no partition yet.",
    partitioned=False,
)
SECONDS_APART = 300


def freshness(lake: Lake, contract: Contract, now: datetime) -> dg.AssetCheckResult:
    """Return the result of a table at an instant; an error, as late figures are the ones that people look at."""
    newest = lake.newest(contract)
    if newest is None:
        return dg.AssetCheckResult(passed=True, description="no partition yet")
    age, limit = now - newest.as_of, contract.max_age
    return dg.AssetCheckResult(
        passed=now <= contract.late_after(newest.as_of),
        description=f"newest partition {newest.key}, {age // HOUR} h old; may be {limit // HOUR} h",
        metadata={
            "newest_partition": newest.key,
            "as_of": dg.MetadataValue.timestamp(newest.as_of),
            "age_hours": age // HOUR,
            "may_be_hours": limit // HOUR,
        },
    )


def freshness_sensor(contracts: Sequence[Contract]) -> dg.SensorDefinition:
    """Return the sensor that looks at every table; it runs nothing, so it is on from the start."""

    @dg.sensor(
        name="freshness_sensor",
        minimum_interval_seconds=SECONDS_APART,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports the check `freshness` of each table that has become late, or is no longer late. Starts "
        "no run.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SkipReason:
        late, changed = report_freshness(context.instance, lake, contracts, wall_clock())
        told = f"late: {', '.join(late)}" if late else "no table is late"
        return dg.SkipReason(f"{told}; reported: {', '.join(changed) or 'nothing changed'}")

    return sensor


def report_freshness(
    instance: dg.DagsterInstance, lake: Lake, contracts: Sequence[Contract], now: datetime
) -> tuple[list[str], list[str]]:
    """Report each table whose result differs from the last one that Dagster has.

    Returns:
        The tables that are late, and the tables that were reported.

    """
    keys = {contract.name: dg.AssetCheckKey(dg.AssetKey(contract.name), FRESHNESS.name) for contract in contracts}
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key([*keys.values()])
    late, changed = [], []
    for contract in contracts:
        result = freshness(lake, contract, now)
        last = known.get(keys[contract.name])
        evaluated = last.evaluation if last and last.status.value in _EVALUATED else None
        if not result.passed:
            late.append(contract.name)
        if evaluated is None or evaluated.passed != result.passed:
            changed.append(contract.name)
            instance.report_runless_asset_event(evaluation(contract.name, FRESHNESS, result))
    return late, changed


_EVALUATED = frozenset({"SUCCEEDED", "FAILED"})
"""Any other result in Dagster's records is that of a run that has not reported yet, or never will."""
