"""Which messages a user is shown, in plain Python with fractions: slow, and near to the words of the decisions (G7)."""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

User = dict[str, Any]
Offer = tuple[str, str | None, str]
"""Type, position, text."""

POSITIONED = {
    "success_benchmark": {
        "ahead": "Great progress! Users who scored {band}+ had completed {figure} {label} by Day {day}. "
        "You're at {own}! 🎯",
        "close": "You're almost there! {band}+ achievers had {figure} {label} by Day {day}. You're at {own}.",
        "behind": "Users who scored {band}+ had completed {figure} {label} by Day {day}. You're at {own}.",
    },
    "cohort_comparison": {
        "ahead": "You're ahead of your cohort! Average is {figure} {label}, you're at {own}. 💪",
        "close": "You're right with your cohort! Average is {figure} {label}, you're at {own}.",
        "behind": "Your cohort is averaging {figure} {label}. You're at {own}. Catch up?",
    },
}


def shown(user: User) -> list[tuple[str, int, str, str | None, str]]:
    """Context, place, type, position and text of every message."""
    comparisons = [*_compared("success_benchmark", user, "benchmark_tasks")]
    comparisons += _compared("cohort_comparison", user, "cohort_avg_tasks_completed")
    alternates = [*_alternates(user)]
    contexts = {
        "daily_dashboard": [*comparisons, *alternates][:1],
        "task_completion": [offer for offer in comparisons[:1] if offer[1] == "behind"],
        "weekly_report": [*comparisons, *_top(user), *alternates][:3],
        "streak_at_risk": [*_streak(user)] if user["streak_at_risk"] else [],
        "after_inactivity": [offer for offer in comparisons if offer[0] == "cohort_comparison" and user["silent"]],
    }
    return [
        (context, place, *offer) for context, offers in contexts.items() for place, offer in enumerate(offers, start=1)
    ]


def printed(number: float | Decimal) -> str:
    """At most one decimal, half up."""
    text = str(Decimal(str(number)).quantize(Decimal("0.1"), ROUND_HALF_UP))
    return text.removesuffix(".0")


def position(own: float | Decimal, figure: float | Decimal) -> str:
    """Where a user stands."""
    ratio = Fraction(own) / Fraction(figure)
    return "ahead" if ratio >= Fraction(11, 10) else "close" if ratio >= Fraction(9, 10) else "behind"


def _compared(name: str, user: User, column: str) -> Iterator[Offer]:
    own, figure = user["tasks_completed"], user[column]
    if _says_something(figure):
        where = position(own, figure)
        yield (
            name,
            where,
            POSITIONED[name][where].format(
                band=user["benchmark_band"],
                figure=printed(figure),
                label=_tasks(figure),
                day=user["benchmark_day"],
                own=own,
            ),
        )


def _top(user: User) -> Iterator[Offer]:
    top = user["cohort_top_10_percent_tasks"]
    if _says_something(top):
        yield _always(
            "top_performers",
            f"Top 10% of your cohort completed {top} {_tasks(top)}. You're at {user['tasks_completed']}.",
        )


def _streak(user: User) -> Iterator[Offer]:
    share, threshold, streak = user["streak_percentage"], user["streak_threshold"], user["current_streak"]
    if _says_something(share) and threshold is not None and streak < threshold:
        yield _always(
            "streak_comparison",
            f"{share}% of {user['benchmark_band']}+ achievers maintained a {threshold}+ day streak. "
            f"You're on day {streak}! 🔥",
        )


def _alternates(user: User) -> Iterator[Offer]:
    speaking, days, minutes, week = (
        user[name]
        for name in (
            "speaking_benchmark",
            "cohort_top_10_percent_days_practiced",
            "improvers_minutes_per_day",
            "cohort_avg_tasks_this_week",
        )
    )
    if _says_something(speaking):
        exercises = "speaking exercise" if speaking == 1 else "speaking exercises"
        yield _always(
            "opening_1",
            f"Users who scored {user['benchmark_band']}+ completed {speaking} {exercises} by "
            f"Day {user['benchmark_day']}. You're at {user['speaking_tasks']}.",
        )
    if _says_something(days):
        own = user["days_practiced"]
        yield _always(
            "opening_2",
            f"Top 10% of users in your cohort practice {days} {'day' if days == 1 else 'days'}/week. "
            f"You're at {own} {'day' if own == 1 else 'days'}.",
        )
    if _says_something(minutes) and user["minutes_per_day"] is not None:
        yield _always(
            "opening_3",
            f"Users at your skill level who improved fastest spent {printed(minutes)} min/day. "
            f"You're at {printed(user['minutes_per_day'])} min.",
        )
    if _says_something(week) and Decimal(user["tasks_this_week"]) < Decimal(printed(week)):
        label = "task this week" if printed(week) == "1" else "tasks this week"
        yield _always(
            "opening_4",
            f"Your cohort averaged {printed(week)} {label}. You're at {user['tasks_this_week']}. Catch up?",
        )


def _always(name: str, text: str) -> Offer:
    return name, None, text


def _says_something(figure: float | Decimal | None) -> bool:
    return figure is not None and printed(figure) != "0"


def _tasks(figure: float | Decimal) -> str:
    return "task" if printed(figure) == "1" else "tasks"
