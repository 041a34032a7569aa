"""The work of `ghost-pipeline erase`: erase people from the lake, publish again, and report.

The report, Dagster's records and file names never name the person. How rows are found and removed is in `privacy`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl

from ghost_pipeline.cli.progress import NO_PROGRESS, Progress
from ghost_pipeline.cli.run import republish
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.months import MONTHLY_FIGURES
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.dependents import GHOST_SNAPSHOTS
from ghost_pipeline.lake.atomic import clear_staging
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import exclusive_lock, shared_lock
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.privacy.erasing import (
    erase_from_lake,
    ids_to_erase,
    months_with_shares,
    rows_to_erase,
    table_erasures,
    user_versions,
)
from ghost_pipeline.privacy.erasure_report import (
    GAPS,
    SHARE_THAT_STAYS,
    STAYS,
    ErasureReport,
    TableErasure,
    as_frame,
)
from ghost_pipeline.privacy.personal_columns import USER
from ghost_pipeline.privacy.tombstones import Tombstones, require_erasure_key
from ghost_pipeline.publish.database_builder import publication_lock, with_gaps
from ghost_pipeline.publish.database_file import published_copy
from ghost_pipeline.publish.history import remove_unnamed
from ghost_pipeline.settings import Settings


def planned(settings: Settings, users: Sequence[str] | None, *, even_if_unknown: bool = False) -> pl.DataFrame:
    """The rows that an erasure would change: table, partitions, rows, pseudonymised.

    Raises:
        SettingsError: no key is set, or not the key of the tombstones.
        UnknownUserError: the lake has nothing of a user.

    """
    key, lake = require_erasure_key(settings), Lake(settings.lake)
    with shared_lock(lake.root):
        ids = ids_to_erase(lake, users, key, even_if_unknown=even_if_unknown)
        return as_frame(table_erasures(rows_to_erase(lake, ids)))


def erase(
    settings: Settings,
    users: Sequence[str] | None,
    at: datetime,
    *,
    even_if_unknown: bool = False,
    progress: Progress = NO_PROGRESS,
) -> ErasureReport:
    """Remove people from the lake while no step is running, publish, and recompute what the settings ask for.

    Args:
        settings: the lake, and what is recomputed.
        users: the people, all of them together, so that the change of a month's figures is not one person's alone.
            None: everyone who was erased before and is in the lake again.
        at: time of the erasure, aware.
        even_if_unknown: record tombstones also for people without a row in the lake.
        progress: what is told about the erasure.

    Raises:
        SettingsError: no key is set, or not the key of the tombstones.
        UnknownUserError: the lake has nothing of a user; nothing was changed.
        GhostError: something failed; running again resumes the erasure.

    """
    key, lake = require_erasure_key(settings), Lake(settings.lake)
    progress.say("waiting for running steps to finish")
    progress.working_on("waiting for running steps to finish")
    with exclusive_lock(lake.root):
        progress.say("erasing")
        progress.working_on("erasing")
        for contract in CONTRACTS.values():
            # An hour that was restored by hand may not be remembered yet, but has people's rows.
            lake.list_again(contract)
        ids = ids_to_erase(lake, users, key, even_if_unknown=even_if_unknown)
        people = ids[USER].drop_nulls().unique().sort()
        months = [] if settings.erasure_rebuilds == "nothing" else months_with_shares(lake, ids, key)
        if months:
            # Those that are not rebuilt, because this process is killed, are stale.
            mark_stale(lake, MONTHLY_FIGURES, months[0].as_of - timedelta(microseconds=1), months[-1].as_of)
        marked = _mark_stale(lake, ids) if settings.erasure_rebuilds == "everything" else 0
        name = Tombstones(key, frozenset()).of(USER, "\0".join(people))[:12]
        gaps = [f"{GAPS}: {', '.join(found)}"] if (found := with_gaps(lake)) else []
        report = ErasureReport(
            erased_at=at,
            people=len(people),
            new_tombstones=0,
            tables=(),
            hours_marked_stale=marked,
            months_computed_again=(),
            under_way=True,
            published=False,
            stays=(SHARE_THAT_STAYS[settings.erasure_rebuilds], *STAYS, *gaps),
            file=settings.place / "erasures" / f"{at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}-{name}.json",
        )

        def begins(tables: list[TableErasure], new: int) -> None:
            nonlocal report
            report = replace(report, tables=tuple(tables), new_tombstones=new)
            # Written before any row is removed: after a kill the second run finds fewer rows to report.
            report.write()

        erase_from_lake(lake, ids, key, at, everybody=users is None, begins=begins)
        clear_staging(open_files(settings.database.parent).folder)
    # Before republishing, which may still fail: the rows are gone.
    report = replace(report, under_way=False)
    report.write()

    def remove_earlier_histories() -> None:
        # Readers of an earlier publication keep their files, but not after an erasure.
        with publication_lock(settings.database):
            remove_unnamed(settings.place, published_copy(settings.database))

    try:
        # After the first publication: a month takes a while, and this process may be killed or the month fail.
        republish(settings, months, published=remove_earlier_histories, progress=progress)
    finally:
        # Also if there was nothing to publish, or only the copy in PostgreSQL failed.
        remove_earlier_histories()
    report = replace(report, months_computed_again=tuple(month.key for month in months), published=True)
    report.write()
    return report


def _mark_stale(lake: Lake, ids: pl.DataFrame) -> int:
    since, newest = user_versions(lake, ids)["created_at"].min(), lake.newest_hour(USER_GHOST_STATS)
    if not isinstance(since, datetime) or newest is None:
        return 0
    # An hour whose as_of equals created_at does not see the user yet.
    return mark_stale(lake, GHOST_SNAPSHOTS, since - timedelta(microseconds=1), newest.as_of)
