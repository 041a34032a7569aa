"""What `ghost-pipeline erase` does: a person goes from the lake and from what is published, and a report says so.

Nothing that names the person reaches the report, Dagster's records or the name of a file.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import polars as pl

from ghost_pipeline.cli.run import republish
from ghost_pipeline.contracts.ghost import GHOST_BENCHMARKS, USER_GHOST_STATS
from ghost_pipeline.contracts.raw import USERS
from ghost_pipeline.errors import UnknownUserError
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.dependents import GHOST_SNAPSHOTS
from ghost_pipeline.lake.atomic import clear_staging
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import exclusive_lock, shared_lock
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.privacy.erasing import (
    Changed,
    changes,
    erase_from_lake,
    erased_ids_in,
    ids_in,
    to_erase,
    unknown_users,
)
from ghost_pipeline.privacy.personal_columns import USER
from ghost_pipeline.privacy.tombstones import Tombstones, buried, require_erasure_key
from ghost_pipeline.publish.database_builder import with_gaps
from ghost_pipeline.publish.json_files import publish_json
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Month

_STAYS = (
    "what peers have seen: cohort_ghost_release is append-only and contains no ids",
    "the source: delete the person there as well",
    "backups, snapshots and copies of the data folder: this command cannot reach them",
)
_SHARE = {
    "nothing": "the person's share in monthly benchmarks, in cohort averages and in ranks of past hours",
    "months": "the person's share in cohort averages and in ranks of past hours, until those are rebuilt",
    "everything": "the person's share in cohort averages and in ranks of past hours, until `ghost-pipeline stale` "
    "lists none",
}
"""What stays, by `GHOST_ERASURE_REBUILDS`."""

_GAPS = "hours that an interrupted run left out, in the lake and in the publication, until the next run fills them in"


@dataclass(frozen=True)
class Erasure:
    """What an erasure has done; names nobody."""

    erased_at: datetime
    people: int
    new_tombstones: int
    """Ids that no source brings back from now on: of the people, their sessions, keyboards and tasks."""
    tables: tuple[Changed, ...]
    hours_marked_stale: int
    months_computed_again: tuple[str, ...]
    under_way: bool
    """Whether rows may still be there: `tables` says then what is to go."""
    published: bool
    """Whether the published database was built again since."""
    stays: tuple[str, ...]
    file: Location
    """Where this report lies."""

    def as_dict(self) -> dict[str, Any]:
        """The report for a program."""
        told = asdict(self)
        del told["file"]
        return {**told, "erased_at": f"{self.erased_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "report": str(self.file)}

    def says(self) -> list[str]:
        """The report as lines, without its tables."""
        again = ", ".join(self.months_computed_again) or "none"
        return [
            f"people: {self.people}    new tombstones: {self.new_tombstones}",
            f"months computed again: {again}    hours marked stale: {self.hours_marked_stale}",
            *(f"stays: {one}" for one in self.stays),
            f"report: {self.file}",
        ]


def planned(settings: Settings, users: Sequence[str] | None, *, even_if_unknown: bool = False) -> pl.DataFrame:
    """The rows that an erasure would change: table, partitions, rows, pseudonymised.

    Raises:
        SettingsError: no key is set, or not that of the tombstones.
        UnknownUserError: the lake has nothing of a user.

    """
    key, lake = require_erasure_key(settings), Lake(settings.lake)
    with shared_lock(lake.root):
        return as_frame(changes(to_erase(lake, _ids(lake, users, key, even_if_unknown=even_if_unknown))))


def erase(
    settings: Settings,
    users: Sequence[str] | None,
    at: datetime,
    *,
    even_if_unknown: bool = False,
    out: TextIO = sys.stderr,
) -> Erasure:
    """Remove people from the lake while no step is at work in it, publish, and compute again what is set.

    Args:
        settings: which lake, and what is computed again.
        users: who; all of them together, so that what changes in the figures of a month is not one person's alone.
            None: everybody of whom there is something and who was erased before.
        at: when, aware.
        even_if_unknown: put down tombstones also of those of whom there is nothing.
        out: where progress is written.

    Raises:
        SettingsError: no key is set, or not that of the tombstones.
        UnknownUserError: the lake has nothing of a user; nothing was changed.
        GhostError: something failed; run again, it goes on.

    """
    key, lake = require_erasure_key(settings), Lake(settings.lake)
    out.write("waiting for the steps that are at work\n")
    with exclusive_lock(lake.root):
        out.write("erasing\n")
        ids = _ids(lake, users, key, even_if_unknown=even_if_unknown)
        people = ids[USER].drop_nulls().unique().sort()
        months = [] if settings.erasure_rebuilds == "nothing" else _months(lake, ids, key)
        marked = _mark_stale(lake, ids) if settings.erasure_rebuilds == "everything" else 0
        name = Tombstones(key, frozenset()).of(USER, "\0".join(people))[:12]
        gaps = [f"{_GAPS}: {', '.join(found)}"] if (found := with_gaps(lake)) else []
        report = Erasure(
            erased_at=at,
            people=len(people),
            new_tombstones=0,
            tables=(),
            hours_marked_stale=marked,
            months_computed_again=(),
            under_way=True,
            published=False,
            stays=(_SHARE[settings.erasure_rebuilds], *_STAYS, *gaps),
            file=settings.place / "erasures" / f"{at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}-{name}.json",
        )

        def begins(tables: list[Changed], new: int) -> None:
            nonlocal report
            report = replace(report, tables=tuple(tables), new_tombstones=new)
            # What goes is known now: a kill leaves the second run less to find.
            _write(report)

        erase_from_lake(lake, ids, key, at, everybody=users is None, begins=begins)
        clear_staging(open_files(settings.database.parent).folder)
    # Before what may still fail: the rows are gone.
    report = replace(report, under_way=False)
    _write(report)
    republish(settings, months, out=out)
    report = replace(report, months_computed_again=tuple(month.key for month in months), published=True)
    _write(report)
    return report


def _ids(lake: Lake, users: Sequence[str] | None, key: bytes, *, even_if_unknown: bool) -> pl.DataFrame:
    if users is None:
        return erased_ids_in(lake, key)
    _require_known(lake, users, key, even_if_unknown=even_if_unknown)
    return ids_in(lake, users)


def _require_known(lake: Lake, users: Sequence[str], key: bytes, *, even_if_unknown: bool) -> None:
    unknown = unknown_users(lake, users, key)
    if unknown and not even_if_unknown:
        which = ", ".join(str(users.index(one) + 1) for one in unknown)
        raise UnknownUserError(
            f"erase: the lake has nothing of {len(unknown)} of {len(users)} users (the {which}. that was named). Check "
            f"the id; with --even-if-unknown it is kept out all the same",
        )


def _months(lake: Lake, ids: pl.DataFrame, key: bytes) -> list[Month]:
    """The months in which the people may have counted as achievers, ascending."""
    there = lake.months(GHOST_BENCHMARKS)
    versions = _versions(lake, ids)
    if buried(lake, key, set(ids[USER].drop_nulls()) - set(versions[USER])):
        # An erasure that was interrupted has left nothing that tells which they are.
        return there
    counted = versions.filter(pl.col("final_band_score").is_not_null(), pl.col("diagnostic_score").is_not_null())
    since = counted["created_at"].min()
    return [month for month in there if isinstance(since, datetime) and month.as_of > since]


def _mark_stale(lake: Lake, ids: pl.DataFrame) -> int:
    since, newest = _versions(lake, ids)["created_at"].min(), lake.newest_hour(USER_GHOST_STATS)
    if not isinstance(since, datetime) or newest is None:
        return 0
    # An as_of that equals created_at does not see the user.
    return mark_stale(lake, GHOST_SNAPSHOTS, since - timedelta(microseconds=1), newest.as_of)


def _versions(lake: Lake, ids: pl.DataFrame) -> pl.DataFrame:
    return lake.scan(USERS).filter(pl.col(USER).is_in(ids[USER].drop_nulls().unique().implode())).collect()


def as_frame(tables: Sequence[Changed]) -> pl.DataFrame:
    """What has changed or will: table, partitions, rows, pseudonymised."""
    schema = {"table": pl.String, "partitions": pl.Int64, "rows": pl.Int64, "pseudonymised": pl.Boolean}
    return pl.DataFrame([asdict(one) for one in tables], schema=schema)


def _write(report: Erasure) -> None:
    publish_json({report.file: report.as_dict()})
