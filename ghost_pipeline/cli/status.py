"""`ghost-pipeline status` and `ghost-pipeline alert`: the state of the pipeline with what Dagster's records tell."""

from collections.abc import Collection, Iterable

import click

from ghost_pipeline.cli.dagster_home import records_if_any
from ghost_pipeline.cli.render import as_table
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.errors import GhostError, SettingsError
from ghost_pipeline.monitoring.incidents import Incident, incidents, published_or_late, unreadable
from ghost_pipeline.monitoring.status import Status, status
from ghost_pipeline.settings import Settings


def show_status(settings: Settings, *, as_json: bool, exit_code: bool) -> None:
    """Print the status; with `exit_code`, exit with 1 if what readers get is unreadable, not whole or out of date."""
    now = wall_clock()
    found = _status(settings)
    click.echo(found.as_json() if as_json else _as_text(found))
    if exit_code and (wrong := published_or_late(found, now)):
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise GhostError(f"status: {wrong[0].what}{f': {wrong[0].error}' if wrong[0].error else ''}{more}")


def _status(settings: Settings) -> Status:
    with records_if_any(settings) as instance:
        if instance is None:
            return status(settings, wall_clock())
        # Importing it takes longer than everything else here.
        from ghost_pipeline.defs.run_history import finished_runs

        return status(settings, wall_clock(), tuple(finished_runs(instance)))


def _as_text(found: Status) -> str:
    stale_text = f"stale hours: {found.stale_hours}    stale months: {found.stale_months}"
    failed = found.failed
    ended = f" at {failed.ended:%Y-%m-%dT%H:%MZ}" if failed and failed.ended else ""
    lines = [
        as_table(found.tables),
        "",
        f"rejected rows: {found.rejected_rows}    {stale_text}",
        f"last failed run: {f'{failed.job} {failed.partition}, {failed.run_id}{ended}' if failed else 'none'}",
        *([f"    {failed.error}"] if failed and failed.error else []),
        f"publication: {found.publication or 'none'}",
        *(f"differs: {one}" for one in found.differences),
    ]
    return "\n".join(lines)


def look_and_alert(settings: Settings, *, dry_run: bool, test: bool) -> None:
    """Look for incidents once and send what is due; the exit code is 1 if a message was not taken.

    Args:
        settings: name the addresses.
        dry_run: print the incidents, and neither send nor record anything.
        test: send a test message to every address instead.

    """
    from ghost_pipeline.monitoring.alerts import TEST, alert, deliver, services

    if test:
        addresses = services(settings)
        if not addresses:
            raise SettingsError("GHOST_ALERT_URLS: not set, so there is no address to test")
        failed = list(deliver(addresses, TEST))
        _report(len(addresses) - len(failed), failed)
        return
    found = _look(settings)
    if dry_run or settings.alert_urls is None:
        _show(_present(settings, found))
        if settings.alert_urls is None and not dry_run:
            click.echo("GHOST_ALERT_URLS is not set: nothing is sent.", err=True)
        return
    done = alert(settings, found, wall_clock())
    if done is None:
        click.echo("Another process is looking at this moment.", err=True)
        return
    _show(done.open)
    _report(len(done.sent), done.undelivered)


def export_figures(settings: Settings) -> None:
    """Write the figures to `GHOST_METRICS_FILE`, or print them if it is not set."""
    from ghost_pipeline.defs.run_history import step_times
    from ghost_pipeline.monitoring.metrics import as_text, figures, write_figures

    found, now = _look(settings), wall_clock()
    with records_if_any(settings) as instance:
        steps = list(step_times(instance)) if instance else []
    registry = figures(found if isinstance(found, Status) else None, _present(settings, found), steps, now)
    if settings.metrics_file:
        write_figures(registry, settings.metrics_file)
    else:
        click.echo(as_text(registry), nl=False)


def _present(settings: Settings, found: Status | str) -> list[Incident]:
    now = wall_clock()
    if isinstance(found, Status):
        return incidents(found, now, None, settings.alert_rejected_rows)
    return [unreadable(found, now)]


def _look(settings: Settings) -> Status | str:
    from ghost_pipeline.definitions import TABLE_ASSETS
    from ghost_pipeline.defs.sensors import look

    with records_if_any(settings) as instance:
        return look(settings, instance, TABLE_ASSETS)


def _show(present: Collection[Incident]) -> None:
    for one in present:
        click.echo(f"{one.kind.value}: {one.what}, since {one.since:%Y-%m-%dT%H:%MZ}")
        if one.error:
            click.echo(f"    {one.error}")
        click.echo(f"    {one.command}")
    if not present:
        click.echo("no incident")


def _report(sent: int, failed: Iterable[str]) -> None:
    failed = list(failed)
    click.echo(f"{sent} message{'' if sent == 1 else 's'} sent", err=True)
    if failed:
        raise GhostError(f"alert: not taken by {', '.join(failed)}. Check GHOST_ALERT_URLS and whether it answers")
