"""The tables behind answers about learners at one `as_of`, from the published database or from the lake."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS, USER_RELEASED_RANKS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.domain.ghost.ghost_figures import FigureLimits, ghost_figures, serving_month
from ghost_pipeline.domain.ghost.released_ranks import with_released_ranks
from ghost_pipeline.errors import NothingPublishedError, UnknownUserError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Month


@dataclass(frozen=True)
class Inputs:
    """The tables behind an answer, all from one publication or all from one hour of the lake."""

    as_of: datetime
    """End of the hour of the users' figures; every answer takes it as the current time (G1.9)."""
    users: Callable[[str | None], pl.DataFrame]
    """`user_ghost_stats` of one user (no row for an unknown one), or of all users for None, with the ranks that people
    are shown."""
    releases: pl.DataFrame
    """The newest partition of the release ledger."""
    benchmarks: pl.DataFrame
    """This and the next two: rows of the one month that serves answers (G5.5)."""
    streak_shares: pl.DataFrame
    fastest_improvers: pl.DataFrame
    limits: FigureLimits
    benchmarks_as_of: datetime | None
    """End of that month, which may have no rows; None if no month serves."""

    @classmethod
    def published(cls, database: PublishedDatabase, settings: Settings) -> Self:
        """Inputs from the published database, for its newest hour.

        Raises:
            NothingPublishedError: no hour of the ghost domain has been published.

        """
        as_of, limits = database.as_of(USER_GHOST_STATS), FigureLimits.of(settings)
        if as_of is None:
            raise NothingPublishedError(
                f"{database.location}, {USER_GHOST_STATS.name}: no hour has been published. Run `ghost-pipeline "
                f"materialize --as-of ...` with a source that has users",
            )

        def users(user_id: str | None) -> pl.DataFrame:
            return database.rows(USER_GHOST_STATS, **({} if user_id is None else {"user_id": user_id}))

        def of_month(contract: Contract) -> tuple[pl.DataFrame, datetime | None]:
            newest = database.as_of(contract)
            # A month without rows (no cell had enough achievers) serves, too.
            ends = {*database.instants(contract), *([newest] if newest else [])}
            month = serving_month((Month.newest_complete(end) for end in ends), as_of, limits)
            if month is None:
                return pl.DataFrame(schema=contract.polars_schema), None
            # That month alone: the table has all that were ever computed.
            return database.rows(contract, as_of=month.as_of), month.as_of

        benchmarks, month_end = of_month(GHOST_BENCHMARKS)
        (shares, _), (improvers, _) = of_month(GHOST_STREAK_SHARES), of_month(GHOST_FASTEST_IMPROVERS)
        ledger = database.rows(COHORT_GHOST_RELEASE)
        return cls(as_of, users, ledger, benchmarks, shares, improvers, limits, month_end)

    @classmethod
    def of_hour(cls, lake: Lake, as_of: datetime, settings: Settings) -> Self:
        """Inputs from the newest hour of the lake that ends at or before `as_of` (G1.9).

        Raises:
            NothingPublishedError: the lake has no such hour.

        """
        hour, limits = lake.last_hour_until(USER_GHOST_STATS, as_of), FigureLimits.of(settings)
        if hour is None:
            raise NothingPublishedError(
                f"{USER_GHOST_STATS.name}: the lake has no hour that ends at or before {as_of:%Y-%m-%dT%H:%MZ}. Run "
                f"`ghost-pipeline materialize --as-of {as_of:%Y-%m-%dT%H:%MZ}`",
            )
        release = lake.last_hour_until(COHORT_GHOST_RELEASE, hour.as_of)
        of_release = [release] if release else []
        stats = lake.scan(USER_GHOST_STATS, [hour])
        ranks = lake.scan(USER_RELEASED_RANKS, lake.written(USER_RELEASED_RANKS, of_release))

        def users(user_id: str | None) -> pl.DataFrame:
            wanted = [] if user_id is None else [pl.col("user_id") == user_id]
            return with_released_ranks(stats.filter(*wanted), ranks.filter(*wanted)).collect()

        def of_month(contract: Contract) -> tuple[pl.DataFrame, datetime | None]:
            month = serving_month(lake.months(contract), hour.as_of, limits)
            rows = lake.scan(contract, [month] if month else []).collect()
            return rows, month.as_of if month else None

        ledger = lake.scan(COHORT_GHOST_RELEASE, of_release).collect()
        benchmarks, month_end = of_month(GHOST_BENCHMARKS)
        (shares, _), (improvers, _) = of_month(GHOST_STREAK_SHARES), of_month(GHOST_FASTEST_IMPROVERS)
        return cls(hour.as_of, users, ledger, benchmarks, shares, improvers, limits, month_end)

    def figures(self, users: pl.DataFrame) -> pl.LazyFrame:
        """Compute every figure that these users may see: the columns of `ghost_figures`, one row per user."""
        return ghost_figures(
            users.lazy(),
            self.releases.lazy(),
            self.benchmarks.lazy(),
            self.streak_shares.lazy(),
            self.fastest_improvers.lazy(),
            self.as_of,
            limits=self.limits,
        )

    def user(self, user_id: str) -> pl.DataFrame:
        """The row of `user_ghost_stats` of a user.

        Raises:
            UnknownUserError: the user has no row.

        """
        row = self.users(user_id)
        if not row.height:
            raise self.unknown(user_id)
        return row

    def unknown(self, user_id: str) -> UnknownUserError:
        """The error about a user who has no row."""
        return UnknownUserError(f"unknown user {user_id!r} (as of {self.as_of:%Y-%m-%dT%H:%MZ})")
