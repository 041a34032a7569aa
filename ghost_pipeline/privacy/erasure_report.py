"""The report of an erasure: a JSON file and lines for a terminal. Nothing in it names a person."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from ghost_pipeline.locations import Location
from ghost_pipeline.publish.json_files import publish_json

STAYS = (
    "what peers have seen: cohort_ghost_release is append-only and contains no ids",
    "the person's share in published months, without an id, until enough people have changed to renew them",
    "the source: delete the person there as well",
    "backups, snapshots and copies of the data folder: this command cannot reach them",
)
"""What no erasure can remove."""
SHARE_THAT_STAYS = {
    "nothing": "the person's share in monthly benchmarks, in cohort averages and in ranks of past hours",
    "months": "the person's share in cohort averages and in ranks of past hours, until those are rebuilt",
    "everything": "the person's share in cohort averages and in ranks of past hours, until `ghost-pipeline stale` "
    "lists none",
}
"""What stays of the person in figures of many people, for each value of `GHOST_ERASURE_REBUILDS`."""
GAPS = "hours that an interrupted run left out, in the lake and in the publication, until the next run fills them in"


@dataclass(frozen=True)
class TableErasure:
    """What an erasure will change, or changed, in a table."""

    table: str
    partitions: int
    rows: int
    pseudonymised: bool
    """Whether the rows stay, with a random name in place of the id; otherwise they are removed."""


@dataclass(frozen=True)
class ErasureReport:
    """What an erasure did."""

    erased_at: datetime
    people: int
    new_tombstones: int
    """Ids that no source can bring back from now on: of the people, their sessions, keyboards and tasks."""
    tables: tuple[TableErasure, ...]
    hours_marked_stale: int
    months_computed_again: tuple[str, ...]
    under_way: bool
    """Whether rows may still be there; `tables` then says what is to be removed."""
    published: bool
    """Whether the published database has been rebuilt since."""
    stays: tuple[str, ...]
    file: Location
    """Where the report is written."""

    def as_dict(self) -> dict[str, Any]:
        """The report for a program."""
        values = asdict(self)
        del values["file"]
        return {**values, "erased_at": f"{self.erased_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "report": str(self.file)}

    def lines(self) -> list[str]:
        """The report for a person, without its tables."""
        months = ", ".join(self.months_computed_again) or "none"
        return [
            f"people: {self.people}    new tombstones: {self.new_tombstones}",
            f"months computed again: {months}    hours marked stale: {self.hours_marked_stale}",
            *(f"stays: {one}" for one in self.stays),
            f"report: {self.file}",
        ]

    def write(self) -> None:
        """Write the report to its file, in place of an earlier state.

        Raises:
            LakeError: it cannot be written.

        """
        publish_json({self.file: self.as_dict()})


def as_frame(tables: Sequence[TableErasure]) -> pl.DataFrame:
    """One row per table: table, partitions, rows, pseudonymised."""
    schema = {"table": pl.String, "partitions": pl.Int64, "rows": pl.Int64, "pseudonymised": pl.Boolean}
    return pl.DataFrame([asdict(one) for one in tables], schema=schema)
