"""Messages from bare numbers, as the cases give them: a frame of one user, put into words as all others are."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl

from ghost_pipeline.contracts.messages import DISPLAY_RULES, MESSAGES, Message
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import DEFAULT_DAYS
from ghost_pipeline.domain.ghost.ghost_messages import formatted_message, ghost_messages

Row = dict[str, Any]
AS_OF = datetime(2025, 3, 12, 12, tzinfo=UTC)
NUMBER = pl.Decimal(18, 2)
FIGURES = ("benchmark_value", "avg_value", "top_10_value", "percentage")
"""Where the cases put the figure of the others."""


def said(
    message_type: str,
    metric: str,
    user_value: float | str,
    figure: float | str | None,
    *,
    band: float | str | None,
    day: int | None,
    threshold: int | None,
) -> Row:
    """A message in words, whether it would be offered or not."""
    message = _of_own_columns(replace(MESSAGES[message_type], metric=metric))
    values = {message.user_value: user_value, message.figure: figure}
    return formatted_message(_one_user(values, band, day, threshold), message).collect().row(0, named=True)


def opening(which: int, value: float | str, user: float | str, **named: Any) -> Row:  # noqa: ANN401 - JSON
    """An opening sentence in words."""
    name = f"opening_{which}"
    named = {name: named.get(name) for name in ("band", "day", "threshold")}
    return said(name, MESSAGES[name].metric, user, value, **named)


def displayed(context: str, figures: Row) -> Row:
    """What is shown in a context that applies, from figures alone."""
    own = next((pair[0] for name in ("benchmark", "cohort") if (pair := figures.get(name))), 0)
    percentage, threshold = figures.get("streak_share") or (None, None)
    top = figures.get("top_10")
    pairs = {
        "success_benchmark": figures.get("benchmark"),
        "cohort_comparison": figures.get("cohort"),
        "top_performers": top and (own, top),
        "streak_comparison": percentage and (figures.get("user_streak"), percentage),
        **{name: figures.get(name) for name in MESSAGES if name.startswith("opening_")},
    }
    messages = {name: _of_own_columns(message) for name, message in MESSAGES.items()}
    values = {}
    for name, message in messages.items():
        values[message.user_value], values[message.figure] = pairs[name] or (None, None)
    users = _one_user(values, "7.5", 12, threshold).with_columns(
        user_id=pl.lit("u"),
        snapshot_date=pl.lit(AS_OF.date()),
        snapshot_hour=pl.lit(AS_OF.hour - 1, pl.Int32),
        **{rule.applies: pl.lit(value=True) for rule in DISPLAY_RULES if rule.applies},
    )
    shown = ghost_messages(users, [context], messages=messages).collect()
    priority = next(rule.priority for rule in DISPLAY_RULES if rule.context == context)
    return {"show": shown.height > 0, "count": shown.height, "types": shown["type"].to_list(), "priority": priority}


def formatted(message_type: str, metric: str, user_value: float | str, data: Row, day: int, current_streak: int) -> Row:
    """What the specification's formatter gives."""
    answer = said(
        message_type,
        metric,
        current_streak if message_type == "streak_comparison" else user_value,
        next((data[name] for name in FIGURES if data.get(name) is not None), None),
        band=data.get("target_band", "7.5"),
        day=data.get("benchmark_day", min(day, DEFAULT_DAYS)),
        threshold=data.get("streak_threshold"),
    )
    return {**answer, "offered_to_user": answer["offered"]}


def _of_own_columns(message: Message) -> Message:
    """The message over columns of its own, so that a case may give any number to any message."""
    figure = f"{message.type}_figure"
    below = figure if message.below == message.figure else message.below
    return replace(message, user_value=f"{message.type}_user", figure=figure, figure_as_of="as_of", below=below)


def _one_user(values: dict[str, Any], band: float | str | None, day: int | None, threshold: int | None) -> pl.LazyFrame:
    numbers = {name: _exact(value) for name, value in values.items()}
    columns = {
        **{name: pl.Series([number], dtype=NUMBER) for name, number in numbers.items()},
        "as_of": pl.Series([AS_OF], dtype=pl.Datetime("us", "UTC")),
        "benchmark_band": pl.Series([None if band is None else Decimal(str(band))], dtype=pl.Decimal(2, 1)),
        "benchmark_day": pl.Series([day], dtype=pl.Int32),
        "streak_threshold": pl.Series([threshold], dtype=pl.Int32),
    }
    return pl.LazyFrame(columns)


def _exact(value: float | str | None) -> Decimal | None:
    return None if value is None else Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)
