"""Alerts: one message when an incident begins and one when it ends, to the addresses of `GHOST_ALERT_URLS`.

Dagster's sensor and `ghost-pipeline alert` call the same function. Apprise speaks to mail servers, webhooks and chats.
An address holds passwords: what is told of one is its position and the name of its service.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ghost_pipeline.errors import SettingsError
from ghost_pipeline.lake.locking import table_lock_if_free
from ghost_pipeline.monitoring.incident_record import NAME, IncidentRecord, KnownIncident
from ghost_pipeline.monitoring.incidents import Incident, Kind, incidents, unreadable
from ghost_pipeline.monitoring.status import Status
from ghost_pipeline.settings import Settings

if TYPE_CHECKING:
    from apprise import NotifyBase

MOST_TOLD = 20
"""Incidents of one kind that a message tells of; further ones are counted."""


class Message(NamedTuple):
    """A message to people."""

    title: str
    body: str
    good_news: bool
    """Whether everything that it tells of has ended."""


TEST = Message("ghost_pipeline: test", "Alerts arrive at this address.", good_news=True)


class Alerted(NamedTuple):
    """What one look at the incidents has led to."""

    open: tuple[Incident, ...]
    sent: tuple[Message, ...]
    undelivered: tuple[str, ...]
    """Addresses, by position and service, that did not take a message."""


def alert(settings: Settings, found: Status | str, now: datetime) -> Alerted | None:
    """Compare the incidents of this moment with the known ones, and send what is due.

    A message that no address takes is sent again with the next look.

    Args:
        settings: name the addresses and the local folder of the record.
        found: the status, or the error that kept it from being read.
        now: the current time, aware.

    Returns:
        What was found and sent; None if another process is looking at this moment.

    Raises:
        SettingsError: an address is not one of Apprise.
        LakeError: the record cannot be written.

    """
    addresses = services(settings)
    with table_lock_if_free(settings.local, NAME) as mine:
        if not mine:
            return None
        record = IncidentRecord.load(settings.local)
        if isinstance(found, Status):
            present = incidents(found, now, record.rejected_before(now), settings.alert_rejected_rows)
            record.observe(found.rejected_rows, now)
            record.update(present, now)
        else:
            record.update([unreadable(found, now)], now, unanswered=Kind)
        sent, undelivered = list[Message](), dict[str, None]()
        for kind in Kind:
            due = record.due(kind, now, timedelta(minutes=settings.alert_pause_minutes)) if addresses else []
            if not due:
                continue
            told = message(kind, due, now)
            failed = list(deliver(addresses, told))
            undelivered.update(dict.fromkeys(failed))
            if len(failed) < len(addresses):
                record.mark_told(kind, due, now)
                sent.append(told)
        record.save(settings.local)
        still = tuple(one.incident for one in record.known if one.ended is None)
    return Alerted(still, tuple(sent), tuple(undelivered))


def message(kind: Kind, due: Sequence[KnownIncident], now: datetime) -> Message:
    """The message about incidents of one kind: first those that began, then those that ended."""
    began = [one.incident for one in due if one.ended is None]
    ended = [one for one in due if one.ended is not None]
    counts = [f"{len(began)} new" if began else "", f"{len(ended)} over" if ended else ""]
    title = f"ghost_pipeline: {kind.value} ({', '.join(filter(None, counts))})"
    parts = ["\n".join(_lines(one, now)) for one in began[:MOST_TOLD]]
    parts += [
        f"Over since {_time(one.ended)}: {one.incident.what} (since {_time(one.incident.since)})"
        for one in ended[:MOST_TOLD]
        if one.ended
    ]
    if more := max(len(began) - MOST_TOLD, 0) + max(len(ended) - MOST_TOLD, 0):
        parts.append(f"… and {more} more: ghost-pipeline alert --dry-run")
    return Message(title, "\n\n".join(parts), good_news=not began)


def _lines(one: Incident, now: datetime) -> Iterator[str]:
    hours = int((now - one.since) / timedelta(hours=1))
    yield f"{one.what[0].upper()}{one.what[1:]}."
    yield f"Since: {_time(one.since)}{f' ({hours:,} h)' if hours else ''}"
    if one.error:
        yield f"Error: {one.error}"
    yield f"Try: {one.command}"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def services(settings: Settings) -> "list[NotifyBase]":
    """The services behind `GHOST_ALERT_URLS`; none if it is not set.

    Raises:
        SettingsError: an address is not one of Apprise; it is named by its position.

    """
    if settings.alert_urls is None:
        return []
    # Loading its 150 services takes 0.7 s.
    import apprise

    # Its messages cite addresses with their passwords; what has to be told of a failure is told by its caller.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    found = []
    for position, address in enumerate(settings.alert_urls.get_secret_value().split(), 1):
        service = apprise.Apprise.instantiate(address.rstrip(","), suppress_exceptions=True)
        if service is None:
            raise SettingsError(
                f"GHOST_ALERT_URLS: address {position} is not one of Apprise, such as json://host/path or "
                f"mailtos://user:password@host?to=address. Write spaces between addresses"
            )
        found.append(service)
    return found


def deliver(addresses: "Sequence[NotifyBase]", told: Message) -> Iterator[str]:
    """Send a message to every address; yields those that did not take it, by position and service."""
    from apprise import NotifyFormat, NotifyType

    kind = NotifyType.SUCCESS if told.good_news else NotifyType.FAILURE
    for position, service in enumerate(addresses, 1):
        taken = service.notify(title=told.title, body=told.body, notify_type=kind, body_format=NotifyFormat.TEXT)
        if not taken:
            yield f"address {position} ({service.service_name})"
