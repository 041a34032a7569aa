"""An adapter between the language-neutral cases and this pipeline: a source that changes, and partitions of it.

The steps run as Dagster would run them, in the order of their dependencies, but in this process and without its
records; that they also run through Dagster is shown elsewhere.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_DATA,
    COHORT_GHOST_RELEASE,
    GHOST_BENCHMARKS,
    GHOST_FASTEST_IMPROVERS,
    GHOST_STREAK_SHARES,
    USER_GHOST_STATS,
)
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    REJECTED_ROWS,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    SOURCE_TABLES,
)
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.table_asset import RunContext
from ghost_pipeline.domain.ghost.benchmarks.ghost_benchmarks import benchmark_day, benchmark_target_band
from ghost_pipeline.domain.ghost.benchmarks.ghost_fastest_improvers import user_minutes_per_day
from ghost_pipeline.domain.ghost.benchmarks.ghost_streak_shares import next_streak_threshold
from ghost_pipeline.domain.ghost.ghost_figures import ghost_figures
from ghost_pipeline.domain.ghost.percentile_rank import rank_column
from ghost_pipeline.domain.ngrams.ngram_queries import error_n, heat_map, slowest_n
from ghost_pipeline.domain.ngrams.ngram_trends import biggest_changes, missing_target_counts, ngram_trend
from ghost_pipeline.domain.ngrams.unknown_keyboards import unknown_keyboards
from ghost_pipeline.domain.shared.versions import keyboards_at
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.tokens import Caller
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.conformance import messages

Row = dict[str, Any]
DEMO_WORLD = Path(__file__).parent.parent / "data" / "demo_world"


class World:
    """The source of one case and the lake that comes out of it."""

    def __init__(self, folder: Path, case: Row) -> None:
        """Write the case's source into `folder`."""
        self.source, self.tables = folder / "source", dict[str, dict[str, Row]]()
        self.source.mkdir()
        settings = Settings.load(
            source=str(self.source), data=folder / "data", export_messages=False, **case.get("settings", {})
        )
        self.resources = RunContext(settings, Lake(settings.lake))
        self.area = case["area"]
        self.ran: set[Hour | Month] = set()
        tables = dict(case["tables"])
        if tables.pop("dataset", None):
            self._add({path.stem: _table(pl.read_parquet(path)) for path in sorted(DEMO_WORLD.glob("*.parquet"))})
        self._add(tables)

    def change(self, kind: str, tables: Row) -> None:
        """Rows that come (`add`), change (`upsert`) or go (`remove`)."""
        if kind == "remove":
            for name, ids in tables.items():
                for key in ids:
                    self.tables.get(name, {}).pop(key, None)
            self._write()
        else:
            self._add(tables)

    def run(self, key: str) -> None:
        """Materialize an hour such as `2025-03-12-11:00` or a month such as `2025-02`."""
        if len(key) == len("2025-02"):
            self.run_month(Month.from_key(key))
        else:
            self.run_hour(Hour.from_key(key))

    def run_hour(self, hour: Hour) -> None:
        """Materialize an hour over the source as it is now."""
        self._run(hour, monthly=False)

    def run_month(self, month: Month) -> None:
        """Materialize a month; the hour that ends with it takes in the source, for only hours see versions (G1.7)."""
        last = Hour.ending_at(month.as_of)
        if last not in self.ran:
            self.run_hour(last)
        self._run(month, monthly=True)

    def answer(self, call: Row) -> Any:  # noqa: ANN401 - a case expects an object, rows or nothing
        """What the pipeline answers to a call of a case."""
        arguments = dict(call)
        operation = getattr(self, f"op_{arguments.pop('op')}")
        return operation(**arguments)

    def op_user_stats(self, as_of: str, user_id: str) -> Row | None:
        """A user's figures."""
        return _one(self._at(USER_GHOST_STATS, as_of).filter(pl.col("user_id") == user_id))

    def op_cohort_snapshot(self, as_of: str, cohort_id: str) -> Row | None:
        """The exact row of a cohort."""
        return _one(self._at(COHORT_GHOST_DATA, as_of).filter(pl.col("cohort_id") == cohort_id))

    def op_newest_snapshot(self, now: str, cohort_id: str) -> Row | None:
        """The row a reader gets: from the newest partition at or before `now`."""
        newest = max(hour for hour in self.ran if isinstance(hour, Hour) and hour.as_of <= _time(now))
        rows = self.resources.lake.scan(COHORT_GHOST_DATA, [newest]).collect()
        return _one(rows.filter(pl.col("cohort_id") == cohort_id))

    def op_release(self, as_of: str, cohort_id: str) -> Row | None:
        """What peers see of a cohort: the newest ledger entry at or before `as_of`."""
        self._at(COHORT_GHOST_RELEASE, as_of)
        ledger = self.resources.lake.scan(COHORT_GHOST_RELEASE).filter(pl.col("cohort_id") == cohort_id).collect()
        return _one(ledger.filter(pl.col("as_of") <= _time(as_of)).sort("as_of", descending=True))

    def op_percentile_rank(self, as_of: str, user_id: str, metric: str, base: str) -> Row:
        """A user's rank."""
        column = rank_column(metric, base)
        row = _one(self._at(USER_GHOST_STATS, as_of).filter(pl.col("user_id") == user_id))
        return {"percentile": None if row is None else row[column]}

    def op_benchmarks(self, month: str, where: Row) -> list[Row]:
        """Rows of the benchmarks."""
        return self._of_month(GHOST_BENCHMARKS, month, where)

    def op_benchmark_lookup(self, as_of: str, user_id: str) -> Row | None:
        """What a user is compared with."""
        user = self._at(USER_GHOST_STATS, as_of).filter(pl.col("user_id") == user_id)
        days = self.resources.settings.benchmark_days
        return _one(
            user.select(benchmark_target_band(), "starting_skill", benchmark_day(days=days).alias("day_number"))
        )

    def op_benchmark_dictionary(self, month: str) -> Any:  # noqa: ANN401 - nested as the specification has it
        """The nested form."""
        self._of_month(GHOST_BENCHMARKS, month, {})
        return json.loads((self.resources.settings.local / "ghost_benchmarks.json").read_text(encoding="utf-8"))

    def op_streak_shares(self, month: str, where: Row) -> list[Row]:
        """Rows of the streak shares."""
        return self._of_month(GHOST_STREAK_SHARES, month, where)

    def op_next_streak_threshold(self, current_streak: int) -> Row:
        """The threshold that a user with this streak is shown."""
        thresholds = self.resources.settings.streak_thresholds
        streak = pl.DataFrame({"current_streak": [current_streak]})
        return streak.select(streak_threshold=next_streak_threshold(thresholds=thresholds)).to_dicts()[0]

    def op_fastest_improvers(self, month: str, where: Row | None = None) -> list[Row]:
        """Rows of the fastest improvers."""
        return self._of_month(GHOST_FASTEST_IMPROVERS, month, where or {})

    def op_user_minutes_per_day(self, as_of: str, user_id: str) -> Row | None:
        """The user's side of opening message 3."""
        user = self._at(USER_GHOST_STATS, as_of).filter(pl.col("user_id") == user_id)
        return _one(user.select(minutes_per_day=user_minutes_per_day()))

    def op_format_message(self, **call: Any) -> Row:  # noqa: ANN401 - as wide as JSON
        """A message in words."""
        return messages.formatted(**call)

    def op_opening_message(self, **call: Any) -> Row:  # noqa: ANN401 - as wide as JSON
        """An opening sentence in words."""
        return messages.opening(**call)

    def op_display(self, context: str, figures: Row) -> Row:
        """What is shown in a context."""
        return messages.displayed(context, figures)

    def op_contexts(self, as_of: str, user_id: str) -> Row | None:
        """Which contexts a user is in."""
        user = self._at(USER_GHOST_STATS, as_of).filter(pl.col("user_id") == user_id).lazy()
        others = (COHORT_GHOST_RELEASE, GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS)
        release, benchmarks, shares, improvers = (table.empty().lazy() for table in others)
        figures = ghost_figures(user, release, benchmarks, shares, improvers, _time(as_of))
        return _one(figures.select("streak_at_risk", after_inactivity="silent").collect())

    def op_response(self, as_of: str, user_id: str, caller_id: str | None = None) -> Row:
        """The object that an app gets, for the caller themselves."""
        Caller(caller_id or user_id).require(user_id)
        end, settings = _time(as_of), self.resources.settings
        if Hour.ending_at(end) not in self.ran:
            self.run_hour(Hour.ending_at(end))
        if not any(isinstance(window, Month) for window in self.ran):
            self.run_month(Month.newest_complete(end - timedelta(hours=settings.benchmark_delay_hours)))
        return GhostReader(settings).ghost_data(user_id, end).model_dump()

    def op_rejected(self, table: str) -> Row:
        """The ids of rejected rows."""
        rows = self.resources.lake.scan(REJECTED_ROWS).filter(pl.col("source_table") == table).collect()
        key = SOURCE_TABLES[table].key[0]
        return {f"{key}s": sorted(json.loads(row)[key] for row in rows["row"])}

    def op_summaries(self, as_of: str, where: Row) -> list[Row]:
        """The summaries as an hour built them."""
        return _rows(_where(self._at(NGRAM_SPEED_SUMMARIES, as_of), where))

    def op_current_summaries(self, where: Row) -> list[Row]:
        """The current table: that of the newest hour."""
        newest = max(hour for hour in self.ran if isinstance(hour, Hour))
        return _rows(_where(self.resources.lake.scan(NGRAM_SPEED_SUMMARIES, [newest]).collect(), where))

    def op_heat_map(self, user_id: str, keyboard_id: str, as_of: str, options: Row) -> list[Row]:
        """A typist's n-grams against the target."""
        summaries = self._at(NGRAM_SPEED_SUMMARIES, as_of).lazy()
        return _rows(heat_map(summaries, user_id, keyboard_id, **options).collect())

    def op_slowest_n(self, n: int, user_id: str, keyboard_id: str, as_of: str, options: Row) -> list[Row]:
        """The slowest n-grams."""
        summaries = self._at(NGRAM_SPEED_SUMMARIES, as_of).lazy()
        return _rows(slowest_n(summaries, n, keyboard_id, user_id, **options).collect())

    def op_error_n(self, n: int, user_id: str, keyboard_id: str, as_of: str, options: Row) -> list[Row]:
        """The n-grams mistyped most often."""
        errors, sessions = self._until(SESSION_NGRAM_ERRORS, as_of), self._until(PRACTICE_SESSIONS, as_of)
        return _rows(error_n(errors, sessions, n, keyboard_id, user_id, as_of=_time(as_of), **options).collect())

    def op_session_summaries(self, as_of: str, session_id: str | None = None) -> list[Row]:
        """What sessions say about their n-grams."""
        rows = self._until(SESSION_NGRAM_SUMMARY, as_of).collect()
        return _rows(rows if session_id is None else rows.filter(pl.col("session_id") == session_id))

    def op_history(self, user_id: str, keyboard_id: str, ngram_text: str) -> list[Row]:
        """How an n-gram's summary changed."""
        history = self.resources.lake.scan(NGRAM_SPEED_SUMMARY_HISTORY)
        return _rows(ngram_trend(history, user_id, keyboard_id, ngram_text).collect())

    def op_history_of_hour(self, as_of: str) -> list[Row]:
        """What changed in an hour."""
        return _rows(self._at(NGRAM_SPEED_SUMMARY_HISTORY, as_of))

    def op_biggest_changes(self, user_id: str, keyboard_id: str) -> list[Row]:
        """Improvements and regressions between the two latest states."""
        history = self.resources.lake.scan(NGRAM_SPEED_SUMMARY_HISTORY)
        return _rows(biggest_changes(history, user_id, keyboard_id).collect())

    def op_missing_target_counts(self, user_id: str, keyboard_id: str, as_of: str, n_sessions: int) -> list[Row]:
        """How many n-grams missed the target, session by session."""
        rows, sessions = self._until(SESSION_NGRAM_SUMMARY, as_of), self._until(PRACTICE_SESSIONS, as_of)
        keyboards = keyboards_at(self.resources.lake.scan(KEYBOARDS), _time(as_of)).collect()
        keyboard = _one(keyboards.filter(pl.col("keyboard_id") == keyboard_id)) or {}
        target = keyboard.get("target_ms_per_keystroke") or self.resources.settings.default_target_ms
        counts = missing_target_counts(rows, sessions, user_id, keyboard_id, target, n_sessions, as_of=_time(as_of))
        return _rows(counts.collect())

    def op_unknown_keyboards(self, as_of: str) -> Row:
        """The keyboards that sessions name and the source lacks."""
        sessions = self._until(PRACTICE_SESSIONS, as_of)
        keyboards = keyboards_at(self.resources.lake.scan(KEYBOARDS), _time(as_of))
        return {"keyboard_ids": unknown_keyboards(sessions, keyboards).collect()["keyboard_id"].to_list()}

    def op_extract(self, session_id: str, kind: str) -> list[Row]:
        """The n-grams of a session."""
        start = _time(self.tables["practice_sessions"][session_id]["start_time"])
        contract = SESSION_NGRAM_SPEED if kind == "speed" else SESSION_NGRAM_ERRORS
        self.run_hour(Hour.containing(start))
        return _rows(self.resources.lake.scan(contract).filter(pl.col("session_id") == session_id).collect())

    def _at(self, contract: Contract, as_of: str) -> pl.DataFrame:
        return self.resources.lake.scan(contract, [self._has_run(as_of)]).collect()

    def _until(self, contract: Contract, as_of: str) -> pl.LazyFrame:
        return self.resources.lake.scan_until(contract, self._has_run(as_of).as_of)

    def _has_run(self, as_of: str) -> Hour:
        hour = Hour.ending_at(_time(as_of))
        if hour not in self.ran:
            self.run_hour(hour)
        return hour

    def _of_month(self, contract: Contract, key: str, where: Row) -> list[Row]:
        month = Month.from_key(key)
        if month not in self.ran:
            self.run_month(month)
        return _rows(_where(self.resources.lake.scan(contract, [month]).collect(), where))

    def _run(self, window: Hour | Month, *, monthly: bool) -> None:
        domain = {"ghost": Domain.GHOST, "ngram": Domain.NGRAMS}[self.area]
        wanted = selection({domain}, monthly=monthly)
        for step in TABLE_ASSETS:
            if step.contract.name in wanted:
                step.body(self.resources, window)  # type: ignore[arg-type]
        self.ran.add(window)

    def _add(self, tables: Row) -> None:
        for name, table in tables.items():
            key = SOURCE_TABLES[name].key
            kept = self.tables.setdefault(name, {})
            for values in table["rows"]:
                row = dict(zip(table["columns"], values, strict=True))
                name_of_row = row[key[0]] if len(key) == 1 else str(len(kept))
                kept[name_of_row] = {**kept.get(name_of_row, {}), **row}
        self._write()

    def _write(self) -> None:
        tables = {
            "ghost": ("users", "cohorts", "user_progress"),
            "ngram": ("users", "keyboards", "practice_sessions"),
        }
        for name in {*tables[self.area], *self.tables}:
            columns = dict.fromkeys(column.name for column in SOURCE_TABLES[name].columns)
            rows = [{**columns, **row} for row in self.tables.get(name, {}).values()]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.source / f"{name}.ndjson").write_text(text, encoding="utf-8")


def _table(frame: pl.DataFrame) -> Row:
    rows = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in frame.rows()]
    return {"columns": frame.columns, "rows": rows}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text if text.endswith("Z") or "+" in text else f"{text}Z")


def _where(frame: pl.DataFrame, where: Row) -> pl.DataFrame:
    for name, value in where.items():
        column = pl.col(name).cast(pl.Float64) if frame.schema[name].is_decimal() else pl.col(name)
        frame = frame.filter(column.eq_missing(pl.lit(value)))
    return frame


def _rows(frame: pl.DataFrame) -> list[Row]:
    return frame.to_dicts()


def _one(frame: pl.DataFrame) -> Row | None:
    rows = _rows(frame)
    return rows[0] if rows else None
