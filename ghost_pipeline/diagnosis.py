"""What `ghost-pipeline doctor` looks at: settings, source, storage and what has been built, each with a remedy."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import polars as pl

from ghost_pipeline.errors import GhostError
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Source, halves
from ghost_pipeline.storage.atomic import replacing
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.storage.querying import query
from ghost_pipeline.tables import CONTRACTS
from ghost_pipeline.tables.contract import Partitioning
from ghost_pipeline.tables.raw import SOURCE_TABLES, SourceTable
from ghost_pipeline.transforms.quarantine import REASON, read_rows

LOW_SPACE = 1 << 30
REASONS_SHOWN = 3


class Verdict(Enum):
    """How a finding is meant."""

    OK = "ok"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    about: str
    says: str


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Look at everything a run needs; nothing is changed but a test file that is removed again."""
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith("GHOST_") and name.removeprefix("GHOST_").lower() not in Settings.model_fields
    )
    if unknown:
        yield Finding(
            Verdict.LOOK, "settings", f"{', '.join(unknown)}: no such setting. Mistyped, or for another tool?"
        )
    else:
        yield Finding(Verdict.OK, "settings", "all valid; `ghost-pipeline settings` lists them")
    yield from _source(settings)
    yield from _storage(settings)
    yield from _lake(settings)
    yield from _published(settings)


def _source(settings: Settings) -> Iterator[Finding]:
    try:
        source = open_source(settings.source)
        present = halves(source)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "source", str(error))
        return
    yield Finding(Verdict.OK, "source", f"{source.name}: {' and '.join(sorted(half.value for half in present))} data")
    for name in SOURCE_TABLES:
        if name in source.tables():
            yield _source_table(source, SOURCE_TABLES[name])
        elif SOURCE_TABLES[name].half in present:
            yield Finding(Verdict.OK, name, "not there; it is optional")


def _source_table(source: Source, table: SourceTable) -> Finding:
    try:
        rows = read_rows(source.scan(table), table).select(REASON).collect()
    except GhostError as error:
        return Finding(Verdict.WRONG, table.name, str(error))
    except pl.exceptions.PolarsError as error:
        return Finding(Verdict.WRONG, table.name, f"cannot be read ({str(error).splitlines()[0]}). Write it again")
    rejected = rows.drop_nulls()
    if rejected.is_empty():
        return Finding(Verdict.OK, table.name, f"{rows.height:,} rows, all readable")
    reasons = rejected.group_by(REASON).len().sort("len", REASON, descending=[True, False]).head(REASONS_SHOWN)
    shown = ", ".join(f"{number} x {reason}" for reason, number in reasons.iter_rows())
    return Finding(
        Verdict.LOOK,
        table.name,
        f"{rows.height:,} rows, {rejected.height:,} of which would be rejected ({shown}). Correct them in the source, "
        f"or leave them: the others go on",
    )


def _storage(settings: Settings) -> Iterator[Finding]:
    try:
        with replacing(settings.data) as replacements:
            probe = settings.data / ".doctor"
            replacements.add(probe).write_bytes(b"")
        probe.unlink()
    except GhostError as error:
        yield Finding(Verdict.WRONG, "storage", str(error))
        return
    free = shutil.disk_usage(settings.data).free
    verdict = Verdict.OK if free >= LOW_SPACE else Verdict.LOOK
    yield Finding(verdict, "storage", f"{settings.data} is writable, {free / (1 << 30):.1f} GiB free")


def _lake(settings: Settings) -> Iterator[Finding]:
    lake = Lake(settings.lake)
    if not settings.lake.exists():
        yield Finding(
            Verdict.LOOK,
            "lake",
            "empty. Run `ghost-pipeline materialize --as-of ...`, or `ghost-pipeline demo`",
        )
        return
    for contract in CONTRACTS.values():
        try:
            lake.require_sound([contract])
        except GhostError as error:
            yield Finding(Verdict.WRONG, f"lake.{contract.name}", str(error))
            continue
        if contract.partitioning is not Partitioning.EVENT_HOUR:
            continue
        hours = lake.hours(contract)
        complete = lake.complete_until(contract)
        if complete is None:
            continue
        if complete == hours[-1].as_of:
            yield Finding(
                Verdict.OK,
                f"lake.{contract.name}",
                f"{len(hours):,} hours, {hours[0].key} to {hours[-1].key}",
            )
        else:
            yield Finding(
                Verdict.WRONG,
                f"lake.{contract.name}",
                f"the hour {complete:%Y-%m-%d-%H:%M} is missing. Materialize the newest hour again: it fills gaps",
            )


def _published(settings: Settings) -> Iterator[Finding]:
    if not settings.database.exists():
        yield Finding(Verdict.LOOK, "published", f"{settings.database} is not there yet; every run publishes it")
        return
    try:
        info = query("SELECT count(*), max(as_of) FROM table_info", settings.database, Lake(settings.lake))
    except GhostError as error:
        yield Finding(Verdict.WRONG, "published", str(error))
        return
    tables, newest = info.row(0)
    if newest is None:
        yield Finding(Verdict.LOOK, "published", f"{settings.database}: {tables} tables, all empty; every run fills it")
        return
    yield Finding(
        Verdict.OK,
        "published",
        f"{settings.database}: {tables} tables, newest as of {newest:%Y-%m-%dT%H:%MZ}",
    )
