"""The registry of percentile ranks.

Add a percentile rank: one `RankMetric` in `RANK_METRICS`. The two columns of `user_ghost_stats`, those of
`user_released_ranks`, their computation, the published table, `ghost-pipeline percentile`, the HTTP route and
`docs/tables.md` follow from it.
"""

from dataclasses import dataclass

import dataframely as dy

from ghost_pipeline.contracts.columns import computed_from, small

RANK_BASES = {"cohort": "the cohort's members", "global": "all users"}
"""Among whom a user is ranked."""

_OF_USERS = "user_ghost_stats."

MAX_RANK = 99
"""100 would mean ahead of every member, the user included."""


@dataclass(frozen=True)
class RankMetric:
    """A figure of a user that is ranked among the cohort and among all users (G4)."""

    name: str
    source: str
    """Column of `user_ghost_stats` that is ranked; time in whole milliseconds."""
    aliases: tuple[str, ...] = ()
    """Further names by which callers may ask for it."""

    def column_name(self, base: str) -> str:
        """The column of `user_ghost_stats` with the rank in a base of `RANK_BASES`."""
        return f"{self.name}_percentile_{base}"

    @property
    def columns(self) -> dict[str, dy.Column]:
        """The columns of `user_ghost_stats`; null without a cohort."""
        exact = "in the lake the exact one of the hour, in the published table the one of user_released_ranks"
        return self._columns(f"rounded down; {exact}", self.source)

    @property
    def shown_columns(self) -> dict[str, dy.Column]:
        """The columns of `user_released_ranks`."""
        return self._columns(
            "as people are shown it: of the number below, rounded down to whole steps", _OF_USERS + self.source
        )

    def _columns(self, how: str, source: str) -> dict[str, dy.Column]:
        return {
            self.column_name(base): computed_from(
                small(f"Percentage of {members} strictly below in {self.source}, {how}", high=MAX_RANK, nullable=True),
                source,
            )
            for base, members in RANK_BASES.items()
        }


RANK_METRICS = {
    metric.name: metric
    for metric in (
        RankMetric("tasks_completed", "tasks_completed"),
        RankMetric("streak", "current_streak", ("current_streak",)),
        RankMetric("practice_time", "practice_time_ms", ("practice_minutes",)),
    )
}
RANK_ALIASES = {alias: metric.name for metric in RANK_METRICS.values() for alias in metric.aliases}
