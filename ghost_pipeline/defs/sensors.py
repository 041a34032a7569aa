"""The sensor that sends alerts; what an incident is and when a message is due is in `monitoring`."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.defs.run_history import failed_checks, finished_runs, step_times
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.errors import GhostError, without_values
from ghost_pipeline.monitoring.alerts import alert
from ghost_pipeline.monitoring.metrics import figures, write_figures
from ghost_pipeline.monitoring.status import Status, status
from ghost_pipeline.settings import Settings

SECONDS_BETWEEN_LOOKS = 60


def build_sensors(tables: Sequence[TableAsset], settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor; it runs unless it is turned off in the UI, if addresses for alerts are set."""
    asked = settings.alert_urls or settings.metrics_file

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING if asked else dg.DefaultSensorStatus.STOPPED,
        description="Every minute: looks for failed runs, late tables, a missing month, failed checks, a jump of "
        "rejected rows and releases that are too old, and sends a message to GHOST_ALERT_URLS when one begins and when "
        "it ends. Also writes GHOST_METRICS_FILE.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = wall_clock()
        found = look(settings, context.instance, tables)
        done = alert(settings, found, now)
        if done is None:
            return dg.SkipReason("another process is looking at this moment")
        if settings.metrics_file:
            status_found = found if isinstance(found, Status) else None
            write_figures(figures(status_found, done.open, step_times(context.instance), now), settings.metrics_file)
        for address in done.undelivered:
            context.log.error("%s did not take a message; it is sent again if no address took it", address)
        return dg.SkipReason(f"{len(done.open)} incidents are open, {len(done.sent)} messages sent")

    return [alerts]


def look(settings: Settings, instance: dg.DagsterInstance | None, tables: Sequence[TableAsset]) -> Status | str:
    """Return the status with what Dagster's records tell, or the error that keeps it from being read."""
    runs = tuple(finished_runs(instance)) if instance else ()
    checks = tuple(failed_checks(instance, tables)) if instance else ()
    try:
        return status(settings, wall_clock(), runs, checks)
    except GhostError as error:
        return str(error)
    except (OSError, pl.exceptions.PolarsError) as error:
        return without_values(error)
