"""The incidents that are known, in one small file, so that each is told once, whatever is restarted.

The file is beside Dagster's records, not in the lake: it belongs to the machine that watches, not to the data. What an
incident is, is in `incidents`; when a message is due, in `alerts`.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from ghost_pipeline.lake.atomic import make_folder, replacing
from ghost_pipeline.monitoring.incidents import Incident, Kind

NAME = "incidents"
DAY_AND_HOUR = timedelta(hours=25)


class KnownIncident(BaseModel):
    """An incident, whether people know of it, and when it ended."""

    incident: Incident
    told: bool = False
    ended: datetime | None = None


class Observation(BaseModel):
    """The number of rejected rows at a time."""

    at: datetime
    rejected_rows: int


class IncidentRecord(BaseModel):
    """All incidents that are open or whose end is still to be told, and what the rules need of before."""

    known: list[KnownIncident] = Field(default_factory=list)
    sent: dict[Kind, datetime] = Field(default_factory=dict)
    """When the last message of each kind was sent."""
    rejected: list[Observation] = Field(default_factory=list)
    """One observation an hour, of the last day."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The record of a folder; an empty one if there is none, or if it cannot be understood."""
        # An unreadable record costs a repeated message; without any alerts, an outage would go unnoticed.
        with suppress(FileNotFoundError, ValidationError):
            return cls.model_validate_json((folder / f"{NAME}.json").read_bytes())
        return cls()

    def save(self, folder: Path) -> None:
        """Replace the file of the record.

        Raises:
            LakeError: it cannot be written.

        """
        make_folder(folder)
        with replacing(folder) as replacements:
            replacements.add(folder / f"{NAME}.json").write_text(self.model_dump_json(indent=1), encoding="utf-8")

    def rejected_before(self, now: datetime) -> int | None:
        """The fewest rejected rows of the last day; None before the first observation."""
        return min((one.rejected_rows for one in self.rejected if now - one.at <= DAY_AND_HOUR), default=None)

    def observe(self, rejected_rows: int, now: datetime) -> None:
        """Note the number of rejected rows, once an hour, and forget those of more than a day ago."""
        self.rejected = [one for one in self.rejected if now - one.at <= DAY_AND_HOUR]
        if not self.rejected or now - self.rejected[-1].at >= timedelta(hours=1):
            self.rejected.append(Observation(at=now, rejected_rows=rejected_rows))

    def update(self, found: Iterable[Incident], now: datetime, unanswered: Iterable[Kind] = ()) -> None:
        """Add new incidents, and end those that are over.

        One that ended before people knew of it is forgotten; one that returns before its end was told goes on.

        Args:
            found: the incidents of this moment.
            now: the current time, aware.
            unanswered: kinds whose rules could not be asked: theirs stay as they are.

        """
        present = {(one.kind, one.key): one for one in found}
        kept = []
        for one in self.known:
            again = present.pop((one.incident.kind, one.incident.key), None)
            if again is not None:
                one.ended = None
            elif one.ended is None and one.incident.kind not in set(unanswered):
                one.ended = now
            if one.told or one.ended is None:
                kept.append(one)
        self.known = [*kept, *(KnownIncident(incident=one) for one in present.values())]

    def due(self, kind: Kind, now: datetime, pause: timedelta) -> list[KnownIncident]:
        """The incidents of a kind that a message should tell of now: new ones and ended ones; none during a pause."""
        sent = self.sent.get(kind)
        if sent is not None and now - sent < pause:
            return []
        return [one for one in self.known if one.incident.kind is kind and (one.ended is not None or not one.told)]

    def mark_told(self, kind: Kind, told: Iterable[KnownIncident], now: datetime) -> None:
        """Note that a message has told of incidents: of the ended ones nothing remains."""
        self.sent[kind] = now
        for one in told:
            one.told = True
        self.known = [one for one in self.known if not (one.told and one.ended is not None)]
