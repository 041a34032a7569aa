"""Answers about typists: heat map, slowest, most mistyped, trends, progress (N4)."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import (
    NGRAM_SPEED_SUMMARIES,
    NGRAM_SPEED_SUMMARY_HISTORY,
    SESSION_NGRAM_SUMMARY,
)
from ghost_pipeline.contracts.raw import KEYBOARDS, PRACTICE_SESSIONS, SESSION_NGRAM_ERRORS
from ghost_pipeline.domain.ngrams.ngram_insights import learning_rates, mistake_pairs, practice_impact
from ghost_pipeline.domain.ngrams.ngram_queries import (
    LOOKBACK_DISTANCE,
    MIN_OCCURRENCES,
    SORT_ORDERS,
    check_ngram_text,
    error_n,
    heat_map,
    newest_sessions,
    slowest_n,
)
from ghost_pipeline.domain.ngrams.ngram_trends import (
    N_SESSIONS,
    biggest_changes,
    missing_target_counts,
    ngram_trend,
)
from ghost_pipeline.domain.shared.versions import keyboards_at
from ghost_pipeline.errors import UnknownKeyboardError, UnknownUserError
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.serving.publication_watcher import SMALL, PublicationWatcher

ROWS = 10
"""Number of rows that a list has unless another one is asked for."""


class PracticeProgress(NamedTuple):
    """How practice on a keyboard goes; an HTTP answer has the same parts."""

    rows: pl.DataFrame
    """As `missing_target_counts` returns them."""
    biggest_changes: pl.DataFrame
    practice_impact: pl.DataFrame
    mistake_pairs: pl.DataFrame


class Typists(PublicationWatcher):
    """Answers about a typist's own keyboards; an unknown user or keyboard has no rows (N4.4).

    Commands and routes ask `require_typist` about an answer without rows. Columns and errors are those of the domain
    functions.
    """

    def ngrams_as_of(self) -> datetime | None:
        """The as_of of all these answers; None if no hour of the n-gram domain has been published."""
        return self.publication().ngrams_as_of

    def require_typist(self, user_id: str, keyboard_id: str | None = None) -> None:
        """Refuse a user or a keyboard that is not known; without a published hour of this domain, none is refused.

        A user is known with any figure of either domain, or with a keyboard.

        Raises:
            UnknownUserError: the user is unknown.
            UnknownKeyboardError: the user does not have that keyboard.

        """
        database, as_of = self.publication().database, self.ngrams_as_of()
        if as_of is None:
            return
        of_typist = (KEYBOARDS, NGRAM_SPEED_SUMMARIES, PRACTICE_SESSIONS)
        owned = pl.concat(
            [database.rows(contract, user_id=user_id).select("keyboard_id") for contract in of_typist]
        ).to_series()
        if keyboard_id is not None and keyboard_id in owned:
            return
        if owned.is_empty() and database.rows(USER_GHOST_STATS, user_id=user_id).is_empty():
            raise UnknownUserError(f"unknown user {user_id!r} (as of {as_of:%Y-%m-%dT%H:%MZ})")
        if keyboard_id is not None:
            raise UnknownKeyboardError(
                f"unknown keyboard {keyboard_id!r} of user {user_id!r} (as of {as_of:%Y-%m-%dT%H:%MZ})"
            )

    def keyboards(self, user_id: str) -> pl.DataFrame:
        """The keyboards that a user has practised on, the most practised first.

        Returns `keyboard_id`, `keyboard_name` (nullable), `target_ms_per_keystroke` and `ngrams`, the number measured.
        """
        database = self.publication().database
        measured = (
            database.rows(NGRAM_SPEED_SUMMARIES, user_id=user_id)
            .group_by("keyboard_id")
            .agg(target_ms_per_keystroke=pl.col("target_speed_ms").first(), ngrams=pl.len())
        )
        as_of = database.as_of(NGRAM_SPEED_SUMMARIES)
        owned = database.rows(KEYBOARDS, user_id=user_id).lazy()
        names = (
            (keyboards_at(owned, as_of) if as_of else owned)
            .select("keyboard_id", "keyboard_name")
            .collect(engine=SMALL)
        )
        return (
            measured.join(names, on="keyboard_id", how="left")
            .select("keyboard_id", "keyboard_name", "target_ms_per_keystroke", "ngrams")
            .sort("ngrams", "keyboard_id", descending=[True, False])
        )

    def heatmap(
        self,
        user_id: str,
        keyboard_id: str,
        *,
        target_speed_ms: float | None = None,
        ngram_size_filter: int | None = None,
        exclude_successful: bool = False,
        sort_order: str = SORT_ORDERS[0],
    ) -> pl.DataFrame:
        """A user's n-grams compared with the target (N4.1); the columns of `HEAT_MAP_SCHEMA`."""
        summaries = self.publication().summaries(user_id, keyboard_id).lazy()
        return heat_map(
            summaries,
            user_id,
            keyboard_id,
            target_speed_ms=target_speed_ms,
            ngram_size_filter=ngram_size_filter,
            exclude_successful=exclude_successful,
            sort_order=sort_order,
        ).collect(engine=SMALL)

    def slowest(
        self,
        user_id: str,
        keyboard_id: str,
        n: int = ROWS,
        *,
        ngram_sizes: Collection[int] | None = None,
        included_keys: Collection[str] | None = None,
        min_occurrences: int = MIN_OCCURRENCES,
        focus_on_speed_target: bool = False,
    ) -> pl.DataFrame:
        """The n slowest n-grams (N4.2); the columns of `PERFORMANCE_SCHEMA`."""
        summaries = self.publication().summaries(user_id, keyboard_id).lazy()
        return slowest_n(
            summaries,
            n,
            keyboard_id,
            user_id,
            ngram_sizes,
            included_keys,
            min_occurrences,
            focus_on_speed_target=focus_on_speed_target,
        ).collect(engine=SMALL)

    def errors(
        self,
        user_id: str,
        keyboard_id: str,
        n: int = ROWS,
        *,
        ngram_sizes: Collection[int] | None = None,
        included_keys: Collection[str] | None = None,
        lookback_distance: int = LOOKBACK_DISTANCE,
    ) -> pl.DataFrame:
        """The n n-grams that were mistyped most often (N4.3); the columns of `ERROR_COUNT_SCHEMA`."""
        database = self.publication().database
        sessions = _of_typist(database, PRACTICE_SESSIONS, user_id, keyboard_id)
        errors = _of_sessions(database, SESSION_NGRAM_ERRORS, sessions)
        return error_n(
            errors, sessions, n, keyboard_id, user_id, ngram_sizes, included_keys, lookback_distance
        ).collect(engine=SMALL)

    def mistake_pairs(self, user_id: str, keyboard_id: str, lookback_distance: int = LOOKBACK_DISTANCE) -> pl.DataFrame:
        """Pairs of expected and typed characters; the columns of `MISTAKE_PAIR_SCHEMA`."""
        database = self.publication().database
        sessions = _of_typist(database, PRACTICE_SESSIONS, user_id, keyboard_id)
        newest = newest_sessions(sessions, user_id, keyboard_id, lookback_distance)
        return mistake_pairs(_of_sessions(database, SESSION_NGRAM_ERRORS, newest)).collect(engine=SMALL)

    def practice_impact(self, user_id: str, keyboard_id: str) -> pl.DataFrame:
        """Time that each n-gram loses against the target; the columns of `IMPACT_SCHEMA`."""
        summaries = self.publication().summaries(user_id, keyboard_id).lazy()
        return practice_impact(summaries, user_id, keyboard_id).collect(engine=SMALL)

    def trend(self, user_id: str, keyboard_id: str, ngram_text: str) -> pl.DataFrame:
        """One n-gram through the history (N4.5); the columns of `NGRAM_TREND_SCHEMA`."""
        history = self._history(user_id, keyboard_id, ngram_text)
        return ngram_trend(history, user_id, keyboard_id, ngram_text).collect(engine=SMALL)

    def learning_rates(self, user_id: str, keyboard_id: str, ngram_text: str | None = None) -> pl.DataFrame:
        """Learning rate of each n-gram, or of one alone; the columns of `LEARNING_RATE_SCHEMA`."""
        history = self._history(user_id, keyboard_id, ngram_text)
        return learning_rates(history, user_id, keyboard_id).collect(engine=SMALL)

    def biggest_changes(self, user_id: str, keyboard_id: str, n: int | None = None) -> pl.DataFrame:
        """Improvements and regressions between the two latest states (N4.5); `BIGGEST_CHANGES_SCHEMA`."""
        history = self._history(user_id, keyboard_id)
        return biggest_changes(history, user_id, keyboard_id, n).collect(engine=SMALL)

    def missing_target_counts(
        self, user_id: str, keyboard_id: str, n_sessions: int = N_SESSIONS, target_speed_ms: float | None = None
    ) -> pl.DataFrame:
        """For each of the newest sessions, the n-grams that missed the target (N4.5); `MISSING_TARGET_SCHEMA`.

        Without `target_speed_ms`, the keyboard's own target counts.
        """
        database = self.publication().database
        sessions = _of_typist(database, PRACTICE_SESSIONS, user_id, keyboard_id)
        newest = newest_sessions(sessions, user_id, keyboard_id, n_sessions)
        return missing_target_counts(
            # Its files are in the order of typists: without these, all of them would be read.
            _of_sessions(database, SESSION_NGRAM_SUMMARY, newest, user_id=user_id, keyboard_id=keyboard_id),
            sessions,
            user_id,
            keyboard_id,
            self._target(database, keyboard_id) if target_speed_ms is None else target_speed_ms,
            n_sessions,
        ).collect(engine=SMALL)

    def progress(
        self,
        user_id: str,
        keyboard_id: str,
        n: int = ROWS,
        *,
        n_sessions: int = N_SESSIONS,
        target_speed_ms: float | None = None,
    ) -> PracticeProgress:
        """Misses of the newest sessions, and the first n of the changes, the costliest n-grams and the mistakes."""
        return PracticeProgress(
            rows=self.missing_target_counts(user_id, keyboard_id, n_sessions, target_speed_ms),
            biggest_changes=self.biggest_changes(user_id, keyboard_id, n),
            practice_impact=self.practice_impact(user_id, keyboard_id).head(max(n, 0)),
            mistake_pairs=self.mistake_pairs(user_id, keyboard_id).head(max(n, 0)),
        )

    def _history(self, user_id: str, keyboard_id: str, ngram_text: str | None = None) -> pl.LazyFrame:
        """The history of a keyboard; of one n-gram, only its rows are read: a thousandth of them."""
        only = {} if ngram_text is None else {"ngram_text": check_ngram_text(ngram_text)}
        database = self.publication().database
        return database.rows(NGRAM_SPEED_SUMMARY_HISTORY, user_id=user_id, keyboard_id=keyboard_id, **only).lazy()

    def _target(self, database: PublishedDatabase, keyboard_id: str) -> float:
        as_of = database.as_of(NGRAM_SPEED_SUMMARIES)
        versions = database.rows(KEYBOARDS, keyboard_id=keyboard_id).lazy()
        targets = (
            (keyboards_at(versions, as_of) if as_of else versions)
            .select("target_ms_per_keystroke")
            .collect(engine=SMALL)
        )
        target = targets.to_series().drop_nulls()
        return float(target[0]) if target.len() else self.settings.default_target_ms


def _of_typist(database: PublishedDatabase, contract: Contract, user_id: str, keyboard_id: str) -> pl.LazyFrame:
    return database.rows(contract, user_id=user_id, keyboard_id=keyboard_id).lazy()


def _of_sessions(
    database: PublishedDatabase, contract: Contract, sessions: pl.LazyFrame, **typist: str
) -> pl.LazyFrame:
    ids = sessions.select("session_id").collect(engine=SMALL)["session_id"].to_list()
    return database.rows(contract, session_id=ids, **typist).lazy()
