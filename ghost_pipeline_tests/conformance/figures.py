"""Cases that give bare numbers: a lake whose tables show exactly these, published and asked through the reader."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS
from ghost_pipeline.contracts.messages import DISPLAY_RULES, MESSAGES, Message
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.domain.ghost.ghost_messages import formatted_message
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.samples import HOUR, MONTH, sample

Row = dict[str, Any]
Number = float | str
SEED = 1
BAND, START = Decimal("7.5"), Decimal("5.5")
TWO_DAYS = timedelta(hours=48)

SHOWN_IN: dict[str, tuple[Contract, str, Row]] = {
    "benchmark_tasks": (
        GHOST_BENCHMARKS, "avg_tasks_completed", {"population": "interval", "success_percentile": 25},
    ),
    "speaking_benchmark": (
        GHOST_BENCHMARKS, "avg_speaking_tasks", {"population": "at_least", "success_percentile": 50},
    ),
    "cohort_avg_tasks_completed": (COHORT_GHOST_RELEASE, "avg_tasks_completed", {}),
    "cohort_avg_tasks_this_week": (COHORT_GHOST_RELEASE, "avg_tasks_this_week", {}),
    "cohort_top_10_percent_tasks": (COHORT_GHOST_RELEASE, "top_10_percent_tasks", {}),
    "cohort_top_10_percent_days_practiced": (COHORT_GHOST_RELEASE, "top_10_percent_days_practiced", {}),
    "improvers_minutes_per_day": (GHOST_FASTEST_IMPROVERS, "minutes_per_day", {}),
    "streak_percentage": (GHOST_STREAK_SHARES, "percentage", {}),
}  # fmt: skip
"""The table and column of each figure that a message may name, and which row of it the reader takes."""


class Figures:
    """One user, `u`, and the figures of others, as a lake that a run would have left."""

    def __init__(self, folder: Path) -> None:
        """Keep the lake in `folder`, which is empty."""
        self.settings = Settings.load(data=folder / "data")
        self.lake, self.reader = Lake(self.settings.lake), GhostReader(self.settings)

    def show(self, user: Row, figures: dict[str, Number | None], *, band: Number | None, day: int, days: int) -> None:
        """Publish a user's row and the figures that a case gives; no table has a row for those it does not give.

        Args:
            user: columns of `user_ghost_stats`.
            figures: by their columns of `ghost_figures`.
            band: the user's target band; 7.5 without one.
            day: the user's day in the journey.
            days: threshold of the streak share.

        """
        target = BAND if band is None else Decimal(str(band))
        others = {
            "cohort_id": "c", "practice_time_ms": 0, "released": True, "suppressed_reason": None,
            "released_as_of": HOUR.as_of, "last_release_as_of": HOUR.as_of,
            "target_band": target, "day_number": day, "streak_threshold": days,
        }  # fmt: skip
        self._write(
            USER_GHOST_STATS, {"user_id": "u", "starting_skill": START, "day_in_journey": day, **others, **user}
        )
        rows: dict[Contract, dict[str, Row]] = {}
        for name, value in figures.items():
            contract, column, which = SHOWN_IN[name]
            start = None if contract is GHOST_STREAK_SHARES else START
            row = rows.setdefault(contract, {}).setdefault(str(which), {"starting_skill": start, **others, **which})
            row[column] = value
        for contract, some in rows.items():
            self._write(contract, *some.values())
        publish(self.lake, self.settings.database)

    def formatted(self, message: Message) -> Row:
        """The message about the published figures in words, whether it would be offered or not."""
        inputs = self.reader.inputs()
        return formatted_message(inputs.figures(inputs.user("u")), message).collect().row(0, named=True)

    def displayed(self, context: str) -> Row:
        """What the reader shows in a context."""
        shown = self.reader.messages("u", context).messages
        priorities = {message.priority for message in shown}
        return {
            "show": bool(shown),
            "count": len(shown),
            "types": [message.type for message in shown],
            "priority": priorities.pop() if priorities else None,
        }

    def forecast(self, averages: list[float], target_ms: float) -> Row:
        """What the reader says of an n-gram whose average was so after each session, an hour apart."""
        hour = HOUR
        for average in averages:
            measured = {
                "user_id": "u", "keyboard_id": "k", "ngram_text": "th", "ngram_size": 2, "as_of": hour.as_of,
                "last_measured": hour.start, "decaying_average_ms": average, "target_speed_ms": target_ms,
            }  # fmt: skip
            self._write(NGRAM_SPEED_SUMMARY_HISTORY, measured, partition=hour)
            hour = hour.next()
        publish(self.lake, self.settings.database)
        (rates,) = self.reader.learning_rates("u", "k").to_dicts()
        return {"sessions_to_target": rates["sessions_to_target"]}

    def _write(self, contract: Contract, *rows: Row, partition: Hour | Month | None = None) -> None:
        """Write rows that name what matters; the contract fills the rest."""
        monthly = "month" in contract.polars_schema
        window = partition or (MONTH if monthly else HOUR)
        clock = {"as_of": window.as_of, "month": MONTH.key}
        if isinstance(window, Hour):
            clock |= {"snapshot_date": window.start.date(), "snapshot_hour": window.start.hour}
        frames = []
        for seed, row in enumerate(rows, start=SEED):
            values = {name: value for name, value in {**clock, **row}.items() if name in contract.polars_schema}
            columns = [
                pl.Series(name, [_exact(value, contract.polars_schema[name])], contract.polars_schema[name])
                for name, value in values.items()
            ]
            frames.append(sample(contract, 1, seed).with_columns(columns))
        self.lake.write(contract, window, pl.concat(frames))


def format_message(
    folder: Path, message_type: str, metric: str, user_value: Number, data: Row, day: int, current_streak: int
) -> Row:
    """What the specification's formatter gives."""
    message = _about(MESSAGES[message_type], metric)
    figure = next(data[name] for name in ("benchmark_value", "avg_value", "top_10_value", "percentage") if name in data)
    figures = Figures(folder)
    figures.show(
        {"current_streak": current_streak, message.user_value: user_value},
        {message.figure: figure},
        band=data.get("target_band"),
        day=day,
        days=data.get("streak_threshold", 1),
    )
    answer = figures.formatted(message)
    return {**answer, "offered_to_user": answer["offered"]}


def opening_message(
    folder: Path,
    which: int,
    value: Number,
    user: Number,
    band: Number | None = None,
    day: int = 10,
    threshold: int = 1,
) -> Row:
    """An opening sentence in words."""
    message = MESSAGES[f"opening_{which}"]
    figures = Figures(folder)
    figures.show(_own(message, user, day), {message.figure: value}, band=band, day=day, days=threshold)
    return figures.formatted(message)


def display(folder: Path, context: str, figures: Row) -> Row:
    """What is shown in a context that applies, from figures alone."""
    pairs = {"success_benchmark": figures.get("benchmark"), "cohort_comparison": figures.get("cohort")}
    pairs |= {name: figures.get(name) for name in MESSAGES if name.startswith("opening_")}
    user: Row = {"current_streak": figures.get("user_streak", 0), **_in_context(context)}
    others: dict[str, Number | None] = {}
    for name, pair in pairs.items():
        if pair:
            user |= _own(MESSAGES[name], pair[0], 10)
            others[MESSAGES[name].figure] = pair[1]
    if (top := figures.get("top_10")) is not None:
        others[MESSAGES["top_performers"].figure] = top
    percentage, days = figures.get("streak_share") or (None, 1)
    if percentage is not None:
        others[MESSAGES["streak_comparison"].figure] = percentage
    shown = Figures(folder)
    shown.show(user, others, band=None, day=10, days=days)
    return shown.displayed(context)


def forecast(folder: Path, averages: list[float], target_ms: float) -> Row:
    """What is said of the sessions until an n-gram meets its target."""
    return Figures(folder).forecast(averages, target_ms)


def _about(message: Message, metric: str) -> Message:
    """The message about another metric, from the columns of the message that is about it."""
    other = next((one for one in (message, *MESSAGES.values()) if one.metric == metric), message)
    return replace(
        message, metric=metric, user_value=other.user_value, figure=other.figure, figure_as_of=other.figure_as_of
    )


def _own(message: Message, value: Number, day: int) -> Row:
    """The user's own value; minutes a day follow from all minutes."""
    if message.user_value == "minutes_per_day":
        return {"practice_time_ms": int(value) * 60_000 * day, "practice_minutes": float(value) * day}
    return {message.user_value: value}


def _in_context(context: str) -> Row:
    applies = next(rule.applies for rule in DISPLAY_RULES if rule.context == context)
    at_risk = {"streak_status": "at_risk"} if applies == "streak_at_risk" else {"streak_status": "active"}
    return {**at_risk, "last_activity_at": HOUR.as_of - TWO_DAYS if applies == "silent" else HOUR.start}


def _exact(value: Any, dtype: pl.DataType) -> Any:  # noqa: ANN401 - a cell of any table
    """A number as the column stores it."""
    if value is None or isinstance(value, bool | datetime):
        return value
    if dtype.is_decimal():
        return Decimal(str(value))
    return int(Decimal(str(value))) if dtype.is_integer() else value
