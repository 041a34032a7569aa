"""The users at the hours of a range, each with the calendar in which their days are counted (G1)."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ghost_pipeline.domain.ghost.activity_rollups import ENTITY_SCHEMA, calendars
from ghost_pipeline.domain.shared.local_time import today
from ghost_pipeline.domain.shared.versions import constant_and_changing, valid_at

_CALENDAR = ("user_id", "timezone", "created_date")


@dataclass(frozen=True)
class UserCalendars:
    """The users of the hours between two instants."""

    entities: pl.DataFrame
    """`ENTITY_SCHEMA`: every calendar that a user has in the range, also those of users who do not exist yet."""
    _constant: pl.DataFrame
    _changing: pl.DataFrame

    @classmethod
    def between(cls, versions: pl.DataFrame, first: datetime, last: datetime) -> "UserCalendars":
        """Take every version of `users`; `first` and `last` are the first and the last `as_of`."""
        constant, changing = constant_and_changing(versions, "user_id", first, last)
        constant, changing = (calendars(part.lazy()).collect() for part in (constant, changing))
        # A calendar to which a user returns is the same entity.
        others = changing.unique(_CALENDAR, maintain_order=True)
        entities = pl.concat([part.select(_CALENDAR) for part in (constant, others)]).with_row_index("entity")
        numbered = changing.join(entities.tail(others.height), on=_CALENDAR, how="left", nulls_equal=True)
        return cls(entities.select(ENTITY_SCHEMA.names()), constant.with_row_index("entity"), numbered)

    def present(self, as_of: datetime) -> pl.DataFrame:
        """Return the users who exist at `as_of`, one of those hours (G1.1); sorted by user_id.

        They have the columns of the version that is valid then, entity UInt32, created_date Date, today Date (G1.3) and
        day_in_journey Int32 (G1.5).
        """
        users = self._constant
        if self._changing.height:
            changed = valid_at(self._changing.lazy(), "user_id", as_of).select(users.columns).collect()
            users = users.merge_sorted(changed, "user_id")
        exists = users["created_at"] < as_of
        users = users if exists.all() else users.filter(exists)
        # The date is looked up once per zone, of which there are some hundred, not once per user.
        zones = users.select(pl.col("timezone").unique()).with_columns(today=today(as_of, pl.col("timezone")))
        dates = users.select("timezone").join(zones, on="timezone", how="left", nulls_equal=True, maintain_order="left")
        days = (pl.col("today") - pl.col("created_date")).dt.total_days() + 1
        return users.with_columns(dates["today"]).with_columns(day_in_journey=days.cast(pl.Int32))
