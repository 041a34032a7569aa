"""Users as they are published: with the percentile ranks that people are shown, not with the exact ones (G9.5)."""

from collections.abc import Iterable
from pathlib import Path

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS, USER_RELEASED_RANKS
from ghost_pipeline.domain.ghost.released_ranks import COHORT_RANKS, GLOBAL_RANKS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.history import rows_of
from ghost_pipeline.sql_quoting import sql_identifier


def rank_files(lake: Lake) -> list[Path]:
    """Return the files of the ranks that go with the newest hour of the ledger; none if an earlier version wrote it."""
    newest = lake.newest_hour(COHORT_GHOST_RELEASE)
    return lake.files(USER_RELEASED_RANKS, lake.written(USER_RELEASED_RANKS, [newest] if newest else []))


def users_with_shown_ranks(users: str, ranks: Iterable[Path]) -> str:
    """A relation of users with the columns of `user_ghost_stats`, as `with_released_ranks` returns them.

    Args:
        users: a relation of `user_ghost_stats`.
        ranks: the files of the ranks.

    """

    def shown(name: str) -> str:
        column = sql_identifier(name)
        if name in COHORT_RANKS:
            return f"CASE WHEN shown.cohort_id = users.cohort_id THEN shown.{column} END AS {column}"
        return f"{'shown' if name in GLOBAL_RANKS else 'users'}.{column}"

    columns = ", ".join(map(shown, USER_GHOST_STATS.polars_schema))
    return (
        f"(SELECT {columns} FROM {users} AS users "  # noqa: S608 - our own names
        f"LEFT JOIN {rows_of(USER_RELEASED_RANKS, ranks)} AS shown USING (user_id))"
    )
