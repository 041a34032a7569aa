"""Which hours of a history share a file: whole months, then the whole days of the newest month, then single hours.

The first month and day of a table are not taken as whole, either: retention removes their hours one by one, and each
would change a large file. The division follows from the table's hours alone, so an incremental publication has the
files of one from scratch.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

from ghost_pipeline.lake.partitions import day_of
from ghost_pipeline.publish.partition_contents import HourContent, PartitionContents, hours_hash
from ghost_pipeline.windows import Hour, Month

SETTLED = timedelta(days=3)
"""How long after its end a month is still divided into days: runs read the last 48 hours of a source again, so late
rows of its last day would change the whole month."""


class Span(NamedTuple):
    """A month, a day or an hour with rows."""

    key: str
    """`2025-03`, `2025-03-12` or `2025-03-12T11`."""
    content_hash: str
    rows: int


def spans(contents: PartitionContents) -> list[Span]:
    """Divide a table into the spans that have rows, ascending."""
    first, newest = contents.first, contents.newest
    if first is None or newest is None:
        return []
    found: list[Span] = []
    for month in contents.months:
        if _is_whole_month(month.month, first, newest):
            found.append(Span(*month))
        else:
            found.extend(_within(contents.hours(month.month), first, newest))
    return [span for span in found if span.rows]


def hours_of(contents: PartitionContents, span: Span) -> list[HourContent]:
    """The hours of a span, ascending."""
    hours = contents.hours(span.key[: len("2025-03")])
    return [one for one in hours if f"{one.day}T{one.hour}".startswith(span.key)]


def _within(hours: list[HourContent], first: Hour, newest: Hour) -> Iterator[Span]:
    for day, group in groupby(hours, key=lambda one: one.day):
        of_day = list(group)
        parts = [of_day] if _is_whole_day(day, first, newest) else [[one] for one in of_day]
        for part in parts:
            key = day if part is of_day else f"{day}T{part[0].hour}"
            yield Span(key, hours_hash(part), sum(one.rows for one in part))


def _is_whole_month(key: str, first: Hour, newest: Hour) -> bool:
    month = Month.from_key(key)
    return first.start <= month.start and month.as_of + SETTLED <= newest.as_of


def _is_whole_day(key: str, first: Hour, newest: Hour) -> bool:
    day = day_of(key)
    return first.start <= day.start and day.as_of <= newest.as_of
