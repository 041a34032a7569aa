"""The catalogue of messages holds together."""

from string import Formatter

import pytest

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.contracts.messages import (
    DISPLAY_RULES,
    MESSAGES,
    METRIC_LABELS,
    PLACEHOLDERS,
    DisplayRule,
    Message,
    label,
)

every_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
every_rule = pytest.mark.parametrize("rule", DISPLAY_RULES, ids=lambda rule: rule.context)


def test_the_types_are_those_of_the_specification_and_its_opening_sentences() -> None:
    assert list(MESSAGES) == [
        "success_benchmark",
        "cohort_comparison",
        "streak_comparison",
        "top_performers",
        *(f"opening_{number}" for number in range(1, 6)),
    ]


def test_the_fifth_opening_sentence_is_the_streak_comparison() -> None:
    assert MESSAGES["opening_5"].wordings == MESSAGES["streak_comparison"].wordings


def test_the_first_four_opening_sentences_are_the_alternates() -> None:
    assert [message.type for message in MESSAGES.values() if message.alternate] == [
        f"opening_{number}" for number in range(1, 5)
    ]


@every_message
def test_a_template_names_nothing_that_cannot_be_filled_in(message: Message) -> None:
    for _, wording in message.cases:
        assert {field for _, field, _, _ in Formatter().parse(wording.template) if field} <= set(PLACEHOLDERS)


@every_message
def test_a_message_has_one_wording_or_one_for_each_position(message: Message) -> None:
    assert [position for position, _ in message.cases] in ([None], ["ahead", "close", "behind"])


@every_message
def test_every_metric_of_a_message_has_a_label(message: Message) -> None:
    assert message.metric in METRIC_LABELS


@pytest.mark.parametrize("metric", [metric.name for metric in BENCHMARK_METRICS if metric.name != "streak"])
def test_every_metric_of_a_benchmark_has_a_label(metric: str) -> None:
    assert metric in METRIC_LABELS


def test_a_metric_without_a_label_keeps_its_name() -> None:
    assert label("eggs") == ("eggs", "eggs")


def test_tones_are_those_of_the_specification() -> None:
    tones = {
        (message.type, position): wording.tone for message in MESSAGES.values() for position, wording in message.cases
    }
    assert [tones["success_benchmark", position] for position in ("ahead", "close", "behind")] == [
        "celebration",
        "encouraging",
        "neutral",
    ]
    assert [tones["cohort_comparison", position] for position in ("ahead", "close", "behind")] == [
        "celebration",
        "encouraging",
        "motivating",
    ]
    assert (tones["streak_comparison", None], tones["top_performers", None]) == ("motivating", "challenging")


@every_rule
def test_a_rule_chooses_among_messages_that_there_are(rule: DisplayRule) -> None:
    assert set(rule.choices) <= set(MESSAGES)


@every_rule
def test_a_rule_for_some_positions_chooses_among_messages_that_tell_them(rule: DisplayRule) -> None:
    assert rule.only is None or all(len(MESSAGES[name].cases) > 1 for name in rule.choices)


def test_contexts_and_priorities_are_those_of_the_specification() -> None:
    assert {rule.context: (rule.count, rule.priority) for rule in DISPLAY_RULES} == {
        "daily_dashboard": (1, "high"),
        "task_completion": (1, "medium"),
        "weekly_report": (3, "high"),
        "streak_at_risk": (1, "critical"),
        "after_inactivity": (1, "high"),
    }
