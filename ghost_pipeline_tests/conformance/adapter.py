"""The calls of the cases, each put to the product: `GhostReader` for the newest hour, the lake for earlier ones."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    REJECTED_ROWS,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    SOURCE_TABLES,
)
from ghost_pipeline.domain.ghost.percentile_rank import rank_column
from ghost_pipeline.domain.ngrams.ngram_queries import heat_map, slowest_n
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.incremental.stale_months import stale_months
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.serving.tokens import Caller
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.conformance import figures
from ghost_pipeline_tests.conformance.source_files import instant
from ghost_pipeline_tests.conformance.world import World

Row = dict[str, Any]
OF_BARE_NUMBERS: dict[str, Callable[..., Row]] = {
    "format_message": figures.format_message,
    "opening_message": figures.opening_message,
    "display": figures.display,
    "forecast": figures.forecast,
}
"""Calls that need no source, by name."""


class Adapter:
    """Answers the calls of a case over its world."""

    def __init__(self, world: World) -> None:
        """Ask this world."""
        self.world = world

    def answer(self, call: Row, scratch: Path) -> Any:  # noqa: ANN401 - a case expects an object, rows or nothing
        """Answer a call; one of bare numbers in an empty folder of its own, `scratch`."""
        arguments = dict(call)
        operation = arguments.pop("op")
        if operation in OF_BARE_NUMBERS:
            scratch.mkdir()
            return OF_BARE_NUMBERS[operation](scratch, **arguments)
        of_world: Callable[..., Any] = getattr(self, f"op_{operation}")
        return of_world(**arguments)

    def op_user_stats(self, as_of: str, user_id: str) -> Row | None:
        """A user's figures."""
        return _one(self._inputs(as_of).users(user_id))

    def op_cohort_snapshot(self, as_of: str, cohort_id: str) -> Row | None:
        """The exact row of a cohort, which is internal."""
        hour = self._hour(as_of)
        return _one(self.world.of_hour(COHORT_GHOST_DATA, hour).filter(pl.col("cohort_id") == cohort_id))

    def op_newest_snapshot(self, now: str, cohort_id: str) -> Row | None:
        """The row of a cohort at the clock of what the reader answers at `now`."""
        hour = Hour.ending_at(self.world.reader().inputs(instant(now)).as_of)
        return _one(self.world.in_lake(COHORT_GHOST_DATA, [hour]).filter(pl.col("cohort_id") == cohort_id))

    def op_release(self, as_of: str, cohort_id: str) -> Row | None:
        """The entry of the ledger that peers see."""
        return _one(self._inputs(as_of).releases.filter(pl.col("cohort_id") == cohort_id))

    def op_percentile_rank(self, as_of: str, user_id: str, metric: str, base: str) -> Row:
        """The exact rank of the hour, after the reader has accepted the question."""
        self.op_released_percentile(as_of, user_id, metric, base)
        stats = self.world.in_lake(USER_GHOST_STATS, [self._hour(as_of)]).filter(pl.col("user_id") == user_id)
        return {"percentile": stats[rank_column(metric, base)].item()}

    def op_released_percentile(self, as_of: str, user_id: str, metric: str, base: str) -> Row:
        """The rank that people are shown."""
        end = instant(as_of)
        if base == "global":
            self.world.require_hour(_midnight_before(end))
        hour = self._hour(as_of)
        return {
            "percentile": self.world.reader().percentile(user_id, metric, base, self._unless_newest(hour)).percentile
        }

    def op_benchmarks(self, month: str, where: Row) -> list[Row]:
        """Rows of the benchmarks."""
        return self._of_month(GHOST_BENCHMARKS, month, where)

    def op_benchmark_intervals(self, month: str, where: Row) -> list[Row]:
        """Rows of the intervals of benchmarks."""
        return self._of_month(_contract("ghost_benchmark_intervals"), month, where)

    def op_benchmark_lookup(self, as_of: str, user_id: str) -> Row | None:
        """The cell of the benchmarks that a user is compared with."""
        return self._figures(as_of, user_id, target_band="benchmark_band", starting_skill="starting_skill",
                             day_number="benchmark_day")  # fmt: skip

    def op_benchmark_dictionary(self, month: str) -> Any:  # noqa: ANN401 - nested as the specification has it
        """The nested form."""
        self.world.require_month(month)
        return self.world.dictionary()

    def op_streak_shares(self, month: str, where: Row) -> list[Row]:
        """Rows of the streak shares."""
        return self._of_month(GHOST_STREAK_SHARES, month, where)

    def op_outcome_odds(self, month: str, where: Row) -> list[Row]:
        """Rows of the odds."""
        return self._of_month(_contract("ghost_outcome_odds"), month, where)

    def op_fastest_improvers(self, month: str, where: Row | None = None) -> list[Row]:
        """Rows of the fastest improvers."""
        return self._of_month(GHOST_FASTEST_IMPROVERS, month, where or {})

    def op_user_minutes_per_day(self, as_of: str, user_id: str) -> Row | None:
        """The user's side of the third opening message."""
        return self._figures(as_of, user_id, minutes_per_day="minutes_per_day")

    def op_contexts(self, as_of: str, user_id: str) -> Row | None:
        """Which contexts a user is in."""
        return self._figures(as_of, user_id, streak_at_risk="streak_at_risk", after_inactivity="silent")

    def op_response(self, as_of: str, user_id: str, caller_id: str | None = None) -> Row:
        """The object that an app gets, for the caller themselves."""
        Caller(caller_id or user_id).require(user_id)
        hour = self._hour(as_of)
        self.world.require_serving_month(hour.as_of)
        return self.world.reader().ghost_data(user_id, self._unless_newest(hour)).model_dump()

    def op_rejected(self, table: str) -> Row:
        """The ids of rejected rows."""
        rows = self.world.in_lake(REJECTED_ROWS).filter(pl.col("source_table") == table)
        key = SOURCE_TABLES[table].key[0]
        return {f"{key}s": sorted(json.loads(row)[key] for row in rows["row"])}

    def op_stale(self) -> Row:
        """The hours and months that are to be built again."""
        hours = stale_hours(self.world.lake)["hour"].unique().sort()
        months = stale_months(self.world.lake, self.world.settings)["month"].unique().sort()
        return {"hours": [Hour.containing(start).key for start in hours], "months": months.to_list()}

    def op_summaries(self, as_of: str, where: Row) -> list[Row]:
        """The summaries as an hour built them."""
        return _where(self.world.of_hour(NGRAM_SPEED_SUMMARIES, self._hour(as_of)), where).to_dicts()

    def op_current_summaries(self, where: Row) -> list[Row]:
        """The published summaries."""
        return _where(self.world.published(NGRAM_SPEED_SUMMARIES), where).to_dicts()

    def op_heat_map(self, user_id: str, keyboard_id: str, as_of: str, options: Row) -> list[Row]:
        """A typist's n-grams against the target."""
        hour = self._hour(as_of)
        if hour == self.world.newest:
            return self.world.reader().heat_map(user_id, keyboard_id, **options).to_dicts()
        summaries = self.world.in_lake(NGRAM_SPEED_SUMMARIES, [hour]).lazy()
        return heat_map(summaries, user_id, keyboard_id, **options).collect().to_dicts()

    def op_slowest_n(self, n: int, user_id: str, keyboard_id: str, as_of: str, options: Row) -> list[Row]:
        """The slowest n-grams."""
        hour = self._hour(as_of)
        if hour == self.world.newest:
            return self.world.reader().slowest_n(n, keyboard_id, user_id, **options).to_dicts()
        summaries = self.world.in_lake(NGRAM_SPEED_SUMMARIES, [hour]).lazy()
        return slowest_n(summaries, n, keyboard_id, user_id, **options).collect().to_dicts()

    def op_error_n(self, n: int, user_id: str, keyboard_id: str, as_of: str, options: Row) -> list[Row]:
        """The n-grams mistyped most often."""
        return self._reader_of_newest(as_of).error_n(n, keyboard_id, user_id, **options).to_dicts()

    def op_session_summaries(self, as_of: str, session_id: str | None = None) -> list[Row]:
        """What sessions say about their n-grams."""
        self._reader_of_newest(as_of)
        rows = self.world.published(SESSION_NGRAM_SUMMARY)
        return (rows if session_id is None else rows.filter(pl.col("session_id") == session_id)).to_dicts()

    def op_history(self, user_id: str, keyboard_id: str, ngram_text: str) -> list[Row]:
        """How an n-gram's summary changed."""
        return self.world.reader().ngram_trend(user_id, keyboard_id, ngram_text).to_dicts()

    def op_history_of_hour(self, as_of: str) -> list[Row]:
        """What changed in an hour."""
        self._hour(as_of)
        history = self.world.published(NGRAM_SPEED_SUMMARY_HISTORY)
        return history.filter(pl.col("as_of") == instant(as_of)).to_dicts()

    def op_biggest_changes(self, user_id: str, keyboard_id: str) -> list[Row]:
        """Improvements and regressions between the two latest states."""
        return self.world.reader().biggest_changes(user_id, keyboard_id).to_dicts()

    def op_missing_target_counts(self, user_id: str, keyboard_id: str, as_of: str, n_sessions: int) -> list[Row]:
        """How many n-grams missed the target, session by session."""
        return self._reader_of_newest(as_of).missing_target_counts(user_id, keyboard_id, n_sessions).to_dicts()

    def op_unknown_keyboards(self, as_of: str) -> Row:
        """The keyboards that sessions name and the source lacks; the summaries' asset reports how many."""
        hour = self._hour(as_of)
        sessions = self.world.lake.scan_until(PRACTICE_SESSIONS, hour.as_of).collect()
        unknown = {*sessions["keyboard_id"]} - {*self.world.in_lake(KEYBOARDS)["keyboard_id"]}
        found = self.world.findings[NGRAM_SPEED_SUMMARIES.name, hour]["keyboards_unknown_to_the_source"]
        if found != len(unknown):
            raise AssertionError(f"{hour.key}: the asset reports {found} unknown keyboards of {len(unknown)}")
        return {"keyboard_ids": sorted(unknown)}

    def op_extract(self, session_id: str, kind: str) -> list[Row]:
        """The n-grams of a session: errors as published, measurements from the lake, which alone has them."""
        self.world.require_hour(Hour.containing(self.world.source.session_start(session_id)).as_of)
        found = (
            self.world.in_lake(SESSION_NGRAM_SPEED) if kind == "speed" else self.world.published(SESSION_NGRAM_ERRORS)
        )
        return found.filter(pl.col("session_id") == session_id).to_dicts()

    def _hour(self, as_of: str) -> Hour:
        return self.world.require_hour(instant(as_of))

    def _unless_newest(self, hour: Hour) -> datetime | None:
        """The `as_of` to name to the reader; none if the hour is the published one."""
        return None if hour == self.world.newest else hour.as_of

    def _inputs(self, as_of: str) -> Inputs:
        hour = self._hour(as_of)
        return self.world.reader().inputs(self._unless_newest(hour))

    def _figures(self, as_of: str, user_id: str, **columns: str) -> Row | None:
        inputs = self._inputs(as_of)
        return _one(inputs.figures(inputs.users(user_id)).select(**columns).collect())

    def _reader_of_newest(self, as_of: str) -> GhostReader:
        """The reader for what it answers of the newest hour alone; a case that asks for another one fails."""
        hour = self._hour(as_of)
        if hour != self.world.newest:
            raise AssertionError(f"{hour.key} is not published, {self.world.newest.key} is")
        return self.world.reader()

    def _of_month(self, contract: Contract, key: str, where: Row) -> list[Row]:
        month = self.world.require_month(key)
        return _where(self.world.published(contract).filter(pl.col("month") == month.key), where).to_dicts()


def _contract(name: str) -> Contract:
    if name not in CONTRACTS:
        raise AssertionError(f"{name} is not built")
    return CONTRACTS[name]


def _midnight_before(end: datetime) -> datetime:
    """The midnight at which the day before ended; at midnight the day that just ended is today."""
    return (end - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def _where(frame: pl.DataFrame, where: Row) -> pl.DataFrame:
    for name, value in where.items():
        column = pl.col(name).cast(pl.Float64) if frame.schema[name].is_decimal() else pl.col(name)
        frame = frame.filter(column.eq_missing(pl.lit(value)))
    return frame


def _one(frame: pl.DataFrame) -> Row | None:
    return frame.row(0, named=True) if frame.height else None
