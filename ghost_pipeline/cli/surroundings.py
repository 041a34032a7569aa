"""The checks of `ghost-pipeline doctor` about what surrounds the data: Dagster, ports, rights, clock, zones, alerts."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ghost_pipeline.cli.dagster_home import records_if_any
from ghost_pipeline.cli.findings import Finding, Verdict
from ghost_pipeline.cli.listening import listen
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.errors import GhostError, SettingsError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.monitoring.alerts import services
from ghost_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

LOW_SPACE = 1 << 30
PORTS = {3000: "ui", 8000: "serve"}
"""The default ports, each with the command that listens there."""
DAEMON_SILENT = timedelta(minutes=5)
"""The daemon reports every 30 s."""
CLOCK_TOLERANCE = timedelta(minutes=1)


def surroundings(settings: Settings) -> Iterator[Finding]:
    """Check what a run, the schedules and the server need beside the data."""
    yield from _dagster(settings)
    yield from _ports()
    yield from _rights(settings)
    yield from _clock(settings)
    yield from _zones()
    yield from _alerts(settings)


def _dagster(settings: Settings) -> Iterator[Finding]:
    try:
        with records_if_any(settings) as instance:
            if instance is None:
                yield Finding(Verdict.OK, "dagster", f"no records yet; the first run makes {settings.dagster_home}")
                return
            home = Path(os.environ["DAGSTER_HOME"])
            yield from _home(home)
            yield from _daemon(instance)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "dagster", str(error))


def _home(home: Path) -> Iterator[Finding]:
    if not os.access(home, os.W_OK):
        yield Finding(Verdict.WRONG, "dagster", f"{home}: cannot be written. Run as a user who may write it")
        return
    free = shutil.disk_usage(home).free
    verdict = Verdict.OK if free >= LOW_SPACE else Verdict.LOOK
    yield Finding(verdict, "dagster", f"records in {home}, {free / (1 << 30):.1f} GiB free")


def _daemon(instance: "dg.DagsterInstance") -> Iterator[Finding]:
    running = [one for one in instance.all_instigator_state() if one.is_running]
    beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    silent = timedelta(seconds=wall_clock().timestamp() - max(beats)) if beats else None
    if silent is not None and silent <= DAEMON_SILENT:
        yield Finding(Verdict.OK, "daemon", f"runs; {len(running)} schedules and sensors are switched on")
    elif running:
        since = "has never run" if silent is None else f"has been silent for {silent // timedelta(minutes=1):,} minutes"
        names = ", ".join(sorted(one.name for one in running))
        yield Finding(
            Verdict.WRONG,
            "daemon",
            f"{since}, so {names} start nothing. Start it: `ghost-pipeline ui`, or dagster-daemon",
        )
    else:
        yield Finding(Verdict.OK, "daemon", "does not run, and no schedule or sensor is switched on")


def _ports() -> Iterator[Finding]:
    for port, command in PORTS.items():
        try:
            listen(command, "127.0.0.1", port).close()
        except SettingsError:
            told = f"{port} is taken, perhaps by a running `ghost-pipeline {command}`. Otherwise choose another --port"
            yield Finding(Verdict.LOOK, "ports", told)
        else:
            yield Finding(Verdict.OK, "ports", f"{port} is free for `ghost-pipeline {command}`")


def _rights(settings: Settings) -> Iterator[Finding]:
    """Files about people are closed to other users of the machine."""
    if not settings.local.is_dir():
        return
    for folder in (settings.local, settings.local / "lake"):
        with suppress(FileNotFoundError):
            if stat.S_IMODE(folder.stat().st_mode) & stat.S_IRWXO:
                told = f"{folder}: open to all users of this machine. Close it: chmod o-rwx {folder}"
                yield Finding(Verdict.LOOK, "rights", told)
                return
    yield Finding(Verdict.OK, "rights", f"{settings.local} is closed to other users of this machine")


def _clock(settings: Settings) -> Iterator[Finding]:
    """A clock that is behind refuses hours that have ended, and a source that is ahead has hours that have not."""
    now, newest = wall_clock(), _newest(settings)
    if newest is not None and newest > now + CLOCK_TOLERANCE:
        yield Finding(
            Verdict.WRONG,
            "clock",
            f"{now:%Y-%m-%dT%H:%MZ}, but the lake has an hour that ends at {newest:%Y-%m-%dT%H:%MZ}. Set the clock of "
            f"this machine",
        )
    else:
        yield Finding(Verdict.OK, "clock", f"{now:%Y-%m-%dT%H:%MZ}")


def _newest(settings: Settings) -> datetime | None:
    with suppress(GhostError):
        hour = Lake(settings.lake).newest_hour(USER_PROGRESS)
        return hour.as_of if hour else None
    return None


def _zones() -> Iterator[Finding]:
    try:
        ZoneInfo("America/Sao_Paulo")
    except ZoneInfoNotFoundError:
        yield Finding(Verdict.WRONG, "time zones", "the rules of zones are missing. Install the package tzdata")
    else:
        yield Finding(Verdict.OK, "time zones", f"rules of tzdata {version('tzdata')}")


def _alerts(settings: Settings) -> Iterator[Finding]:
    try:
        found = services(settings)
    except SettingsError as error:
        yield Finding(Verdict.WRONG, "alerts", str(error))
        return
    if not found:
        yield Finding(Verdict.OK, "alerts", "GHOST_ALERT_URLS is not set: no alert is sent")
        return
    names = ", ".join(str(one.service_name) for one in found)
    yield Finding(Verdict.OK, "alerts", f"to {names}; `ghost-pipeline alert --test` sends a message to each")
