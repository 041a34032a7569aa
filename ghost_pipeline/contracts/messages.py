"""The catalogue of messages and the contexts in which they are shown.

Add a message: one `Message` in `MESSAGES`. Its figure may be any registered figure of a cohort (`cohort_<name>`) or
another column of `ghost_figures`. Show it: name its type in a `DisplayRule`, or make it an alternate. The export, the
answers and `docs/messages.md` follow from these entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Position = Literal["ahead", "close", "behind"]


class Label(NamedTuple):
    """Singular and plural of a metric in a sentence."""

    singular: str
    plural: str


METRIC_LABELS: dict[str, Label] = {
    "tasks_completed": Label("task", "tasks"),
    "tasks_this_week": Label("task this week", "tasks this week"),
    "practice_minutes": Label("minute of practice", "minutes of practice"),
    "minutes_per_day": Label("min", "min"),
    "speaking_tasks": Label("speaking exercise", "speaking exercises"),
    "writing_tasks": Label("writing task", "writing tasks"),
    "reading_tasks": Label("reading task", "reading tasks"),
    "listening_tasks": Label("listening task", "listening tasks"),
    "mock_tests": Label("mock test", "mock tests"),
    "days_practiced": Label("day", "days"),
    "current_streak": Label("day streak", "day streak"),
    "longest_streak": Label("day streak", "day streak"),
}
"""A metric without a label keeps its name (G7.1)."""


def label(metric: str) -> Label:
    """The label of a metric, or its name."""
    return METRIC_LABELS.get(metric, Label(metric, metric))


class Filling(Enum):
    """Value of a placeholder that is not a column."""

    FIGURE = "figure"
    USER_VALUE = "user_value"
    FIGURE_LABEL = "figure_label"
    """The label of the metric, as the figure asks for: 1 task, 2 tasks."""
    USER_LABEL = "user_label"
    """The same, as the user's value asks for."""


PLACEHOLDERS: dict[str, Filling | str] = {
    "benchmark_value": Filling.FIGURE,
    "cohort_avg": Filling.FIGURE,
    "top_10_value": Filling.FIGURE,
    "percentage": Filling.FIGURE,
    "user_value": Filling.USER_VALUE,
    "user_streak": Filling.USER_VALUE,
    "metric": Filling.FIGURE_LABEL,
    "user_metric": Filling.USER_LABEL,
    "target_band": "benchmark_band",
    "day": "benchmark_day",
    "streak_threshold": "streak_threshold",
}
"""Placeholders of a template: a number of the message, its label, or a column of `ghost_figures`."""


@dataclass(frozen=True)
class Wording:
    """A sentence with placeholders, and its tone."""

    template: str
    tone: str


@dataclass(frozen=True)
class Message:
    """One kind of message: which figure it shows beside which own value, and in which words (G7.1).

    It is offered to a user only where it is true: both numbers are there, and the figure does not print as 0.
    """

    type: str
    metric: str
    """Metric that is compared; it gives the label."""
    user_value: str
    """Column of `ghost_figures` with the user's own value: a whole number, a decimal or minutes."""
    figure: str
    """Column of `ghost_figures` with the figure of the others; null where there is none that may be used."""
    figure_as_of: str
    """Column of `ghost_figures` that says as of when the figure is."""
    wordings: Mapping[Position, Wording] | Wording
    """Words for each position of the user, or the same for all."""
    below: str | None = None
    """Column of `ghost_figures` that the user's value must be below, in the numbers as they are printed."""
    alternate: bool = False
    """Whether it fills free places where a context takes alternates, after those that stand before it."""

    @property
    def cases(self) -> tuple[tuple[Position | None, Wording], ...]:
        """Every wording with the position it is for; None where one is for all."""
        return ((None, self.wordings),) if isinstance(self.wordings, Wording) else tuple(self.wordings.items())


def _by_type(*messages: Message) -> dict[str, Message]:
    return {message.type: message for message in messages}


MESSAGES: dict[str, Message] = _by_type(
    Message(
        type="success_benchmark",
        metric="tasks_completed",
        user_value="tasks_completed",
        figure="benchmark_tasks",
        figure_as_of="benchmark_as_of",
        wordings={
            "ahead": Wording(
                "Great progress! Users who scored {target_band}+ had completed {benchmark_value} {metric} "
                "by Day {day}. You're at {user_value}! 🎯",
                "celebration",
            ),
            "close": Wording(
                "You're almost there! {target_band}+ achievers had {benchmark_value} {metric} by Day {day}. "
                "You're at {user_value}.",
                "encouraging",
            ),
            "behind": Wording(
                "Users who scored {target_band}+ had completed {benchmark_value} {metric} by Day {day}. "
                "You're at {user_value}.",
                "neutral",
            ),
        },
    ),
    Message(
        type="cohort_comparison",
        metric="tasks_completed",
        user_value="tasks_completed",
        figure="cohort_avg_tasks_completed",
        figure_as_of="cohort_as_of",
        wordings={
            "ahead": Wording(
                "You're ahead of your cohort! Average is {cohort_avg} {metric}, you're at {user_value}. 💪",
                "celebration",
            ),
            "close": Wording(
                "You're right with your cohort! Average is {cohort_avg} {metric}, you're at {user_value}.",
                "encouraging",
            ),
            "behind": Wording(
                "Your cohort is averaging {cohort_avg} {metric}. You're at {user_value}. Catch up?",
                "motivating",
            ),
        },
    ),
    Message(
        type="streak_comparison",
        metric="current_streak",
        user_value="current_streak",
        figure="streak_percentage",
        figure_as_of="streak_as_of",
        wordings=Wording(
            "{percentage}% of {target_band}+ achievers maintained a {streak_threshold}+ day streak. "
            "You're on day {user_streak}! 🔥",
            "motivating",
        ),
        below="streak_threshold",
    ),
    Message(
        type="top_performers",
        metric="tasks_completed",
        user_value="tasks_completed",
        figure="cohort_top_10_percent_tasks",
        figure_as_of="cohort_as_of",
        wordings=Wording(
            "Top 10% of your cohort completed {top_10_value} {metric}. You're at {user_value}.",
            "challenging",
        ),
    ),
    Message(
        type="opening_1",
        metric="speaking_tasks",
        user_value="speaking_tasks",
        figure="speaking_benchmark",
        figure_as_of="speaking_benchmark_as_of",
        wordings=Wording(
            "Users who scored {target_band}+ completed {benchmark_value} {metric} by Day {day}. "
            "You're at {user_value}.",
            "neutral",
        ),
        alternate=True,
    ),
    Message(
        type="opening_2",
        metric="days_practiced",
        user_value="days_practiced",
        figure="cohort_top_10_percent_days_practiced",
        figure_as_of="cohort_as_of",
        wordings=Wording(
            "Top 10% of users in your cohort practice {top_10_value} {metric}/week. "
            "You're at {user_value} {user_metric}.",
            "challenging",
        ),
        alternate=True,
    ),
    Message(
        type="opening_3",
        metric="minutes_per_day",
        user_value="minutes_per_day",
        figure="improvers_minutes_per_day",
        figure_as_of="improvers_as_of",
        wordings=Wording(
            "Users at your skill level who improved fastest spent {benchmark_value} {metric}/day. "
            "You're at {user_value} {user_metric}.",
            "neutral",
        ),
        alternate=True,
    ),
    Message(
        type="opening_4",
        metric="tasks_this_week",
        user_value="tasks_this_week",
        figure="cohort_avg_tasks_this_week",
        figure_as_of="cohort_as_of",
        wordings=Wording(
            "Your cohort averaged {cohort_avg} {metric}. You're at {user_value}. Catch up?",
            "motivating",
        ),
        below="cohort_avg_tasks_this_week",
        alternate=True,
    ),
    Message(
        type="opening_5",
        metric="current_streak",
        user_value="current_streak",
        figure="streak_percentage",
        figure_as_of="streak_as_of",
        wordings=Wording(
            "{percentage}% of {target_band}+ achievers maintained a {streak_threshold}+ day streak. "
            "You're on day {user_streak}! 🔥",
            "motivating",
        ),
        below="streak_threshold",
    ),
)
"""The eight templates of the specification and its five opening sentences, to the letter, by type (G7.1)."""


@dataclass(frozen=True)
class DisplayRule:
    """Messages of a context (G7.5): the first `count` that can be offered."""

    context: str
    choices: tuple[str, ...]
    """Types of messages, best first."""
    count: int
    priority: str
    alternates: bool = False
    """Whether alternates fill the places that `choices` leave free; a place that stays free is not padded."""
    applies: str | None = None
    """Boolean column of `ghost_figures`: whether the user is in this context now; None: always."""
    only: Position | None = None
    """Shown only where the message that was chosen finds the user in this position."""


DISPLAY_RULES: tuple[DisplayRule, ...] = (
    DisplayRule(
        "daily_dashboard",
        ("success_benchmark", "cohort_comparison"),
        count=1,
        priority="high",
        alternates=True,
    ),
    DisplayRule(
        "task_completion",
        ("success_benchmark", "cohort_comparison"),
        count=1,
        priority="medium",
        only="behind",
    ),
    DisplayRule(
        "weekly_report",
        ("success_benchmark", "cohort_comparison", "top_performers"),
        count=3,
        priority="high",
        alternates=True,
    ),
    DisplayRule(
        "streak_at_risk",
        ("streak_comparison",),
        count=1,
        priority="critical",
        applies="streak_at_risk",
    ),
    DisplayRule(
        "after_inactivity",
        ("cohort_comparison",),
        count=1,
        priority="high",
        applies="silent",
    ),
)
"""The contexts of the specification, in its order."""
