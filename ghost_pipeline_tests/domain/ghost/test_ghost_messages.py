"""Who is shown which message, and in which words."""

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.messages import MESSAGES, Message, Wording
from ghost_pipeline.domain.ghost.ghost_messages import formatted_message, ghost_messages, with_message_texts
from ghost_pipeline.errors import UnknownArgumentError
from ghost_pipeline_tests.domain.ghost.message_figures import DEFAULTS, MONTH_END, RELEASED, SCHEMA, figures
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference import plain_messages

User = dict[str, Any]
EVERYTHING: User = {
    "tasks_completed": 8,
    "tasks_this_week": 8,
    "speaking_tasks": 8,
    "days_practiced": 4,
    "minutes_per_day": "18.0",
    "current_streak": 3,
    "benchmark_tasks": 15,
    "cohort_avg_tasks_completed": "12.00",
    "cohort_top_10_percent_tasks": 22,
    "speaking_benchmark": 15,
    "cohort_top_10_percent_days_practiced": 6,
    "improvers_minutes_per_day": "25.0",
    "cohort_avg_tasks_this_week": "12.00",
    "streak_percentage": 85,
}
CONTEXTS = ["daily_dashboard", "task_completion", "weekly_report", "streak_at_risk", "after_inactivity"]


def types(context: str, **user: object) -> list[str]:
    return ghost_messages(figures(user), [context]).collect()["type"].to_list()


def text(name: str, **user: object) -> str:
    said = formatted_message(figures(user), MESSAGES[name]).collect()["text"].item()
    assert isinstance(said, str)
    return said


def position(name: str, **user: object) -> str | None:
    found = formatted_message(figures(user), MESSAGES[name]).collect()["position"].item()
    assert found is None or isinstance(found, str)
    return found


def offered(name: str, **user: object) -> bool:
    answer = formatted_message(figures(user), MESSAGES[name]).collect()["offered"].item()
    assert isinstance(answer, bool)
    in_words = with_message_texts(figures(user), [name]).collect()[f"{name}_text"].item()
    assert answer == (in_words is not None)
    return answer


@pytest.mark.parametrize(
    ("name", "user", "sentence"),
    [
        (
            "success_benchmark",
            {"tasks_completed": 22, "benchmark_tasks": 20},
            "Great progress! Users who scored 7.5+ had completed 20 tasks by Day 12. You're at 22! 🎯",
        ),
        (
            "success_benchmark",
            {"tasks_completed": 18, "benchmark_tasks": 20},
            "You're almost there! 7.5+ achievers had 20 tasks by Day 12. You're at 18.",
        ),
        (
            "success_benchmark",
            {"tasks_completed": 8, "benchmark_tasks": 15},
            "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8.",
        ),
        (
            "cohort_comparison",
            {"tasks_completed": 14, "cohort_avg_tasks_completed": "12.00"},
            "You're ahead of your cohort! Average is 12 tasks, you're at 14. 💪",
        ),
        (
            "cohort_comparison",
            {"tasks_completed": 12, "cohort_avg_tasks_completed": "12.00"},
            "You're right with your cohort! Average is 12 tasks, you're at 12.",
        ),
        (
            "cohort_comparison",
            {"tasks_completed": 8, "cohort_avg_tasks_completed": "12.00"},
            "Your cohort is averaging 12 tasks. You're at 8. Catch up?",
        ),
        (
            "streak_comparison",
            {"current_streak": 3, "streak_percentage": 85, "benchmark_band": "7.0"},
            "85% of 7.0+ achievers maintained a 5+ day streak. You're on day 3! 🔥",
        ),
        (
            "top_performers",
            {"tasks_completed": 8, "cohort_top_10_percent_tasks": 22},
            "Top 10% of your cohort completed 22 tasks. You're at 8.",
        ),
        (
            "opening_1",
            {"speaking_tasks": 8, "speaking_benchmark": 15},
            "Users who scored 7.5+ completed 15 speaking exercises by Day 12. You're at 8.",
        ),
        (
            "opening_2",
            {"days_practiced": 4, "cohort_top_10_percent_days_practiced": 6},
            "Top 10% of users in your cohort practice 6 days/week. You're at 4 days.",
        ),
        (
            "opening_3",
            {"minutes_per_day": "18.0", "improvers_minutes_per_day": "25.0"},
            "Users at your skill level who improved fastest spent 25 min/day. You're at 18 min.",
        ),
        (
            "opening_4",
            {"tasks_this_week": 8, "cohort_avg_tasks_this_week": "12.00"},
            "Your cohort averaged 12 tasks this week. You're at 8. Catch up?",
        ),
        (
            "opening_5",
            {"current_streak": 3, "streak_percentage": 85, "benchmark_band": "7.0"},
            "85% of 7.0+ achievers maintained a 5+ day streak. You're on day 3! 🔥",
        ),
    ],
)
def test_every_template_to_the_letter(name: str, user: User, sentence: str) -> None:
    assert text(name, **user) == sentence


@pytest.mark.parametrize(
    ("name", "user", "sentence"),
    [
        (
            "success_benchmark",
            {"tasks_completed": 2, "benchmark_tasks": 1, "benchmark_day": 1},
            "Great progress! Users who scored 7.5+ had completed 1 task by Day 1. You're at 2! 🎯",
        ),
        (
            "cohort_comparison",
            {"cohort_avg_tasks_completed": "1.04"},
            "Your cohort is averaging 1 task. You're at 0. Catch up?",
        ),
        (
            "top_performers",
            {"tasks_completed": 1, "cohort_top_10_percent_tasks": 1},
            "Top 10% of your cohort completed 1 task. You're at 1.",
        ),
        (
            "opening_1",
            {"speaking_benchmark": 1},
            "Users who scored 7.5+ completed 1 speaking exercise by Day 12. You're at 0.",
        ),
        (
            "opening_2",
            {"days_practiced": 1, "cohort_top_10_percent_days_practiced": 1},
            "Top 10% of users in your cohort practice 1 day/week. You're at 1 day.",
        ),
        (
            "opening_3",
            {"minutes_per_day": "1.0", "improvers_minutes_per_day": "1.0"},
            "Users at your skill level who improved fastest spent 1 min/day. You're at 1 min.",
        ),
        (
            "opening_4",
            {"cohort_avg_tasks_this_week": "1.00"},
            "Your cohort averaged 1 task this week. You're at 0. Catch up?",
        ),
        (
            "opening_5",
            {"current_streak": 1, "streak_percentage": 1},
            "1% of 7.5+ achievers maintained a 5+ day streak. You're on day 1! 🔥",
        ),
    ],
)
def test_one_is_singular(name: str, user: User, sentence: str) -> None:
    assert text(name, **user) == sentence


@pytest.mark.parametrize(
    ("average", "shown"),
    [("12.00", "12"), ("12.50", "12.5"), ("11.58", "11.6"), ("11.55", "11.6"), ("11.54", "11.5"), ("11.95", "12")],
)
def test_a_number_has_at_most_one_decimal_rounded_half_up(average: str, shown: str) -> None:
    assert f"averaging {shown} tasks." in text("cohort_comparison", cohort_avg_tasks_completed=average)


@pytest.mark.parametrize(
    ("own", "average", "stands"),
    [
        (11, "10.00", "ahead"),
        (9, "10.00", "close"),
        (10, "9.09", "ahead"),
        (10, "9.10", "close"),
        (10, "11.11", "close"),
        (10, "11.12", "behind"),
        (0, "0.00", "behind"),
    ],
)
def test_exactly_1_1_and_0_9_fall_on_the_upper_side(own: int, average: str, stands: str) -> None:
    assert position("cohort_comparison", tasks_completed=own, cohort_avg_tasks_completed=average) == stands


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2000), st.integers(1, 200_000))
def test_the_position_is_that_of_the_exact_ratio(own: int, hundredths: int) -> None:
    average = Decimal(hundredths).scaleb(-2)
    found = position("cohort_comparison", tasks_completed=own, cohort_avg_tasks_completed=str(average))
    assert found == plain_messages.position(own, average)


def test_a_message_with_one_wording_has_no_position() -> None:
    assert position("top_performers", tasks_completed=8, cohort_top_10_percent_tasks=22) is None


def test_past_the_last_day_the_sentence_names_the_day_of_its_figure() -> None:
    assert "by Day 90." in text("success_benchmark", day_in_journey=120, benchmark_day=90, benchmark_tasks=100)


@pytest.mark.parametrize("average", ["0.00", "0.04", None])
def test_a_figure_that_is_missing_or_prints_as_zero_is_never_offered(average: str | None) -> None:
    assert not offered("cohort_comparison", tasks_completed=8, cohort_avg_tasks_completed=average)


def test_the_smallest_figure_that_prints_is_offered() -> None:
    assert offered("cohort_comparison", tasks_completed=8, cohort_avg_tasks_completed="0.05")


def test_a_benchmark_of_zero_is_not_offered_and_its_position_is_behind() -> None:
    assert not offered("success_benchmark", tasks_completed=3, benchmark_tasks=0)
    assert position("success_benchmark", tasks_completed=3, benchmark_tasks=0) == "behind"


def test_without_the_own_value_nothing_is_offered() -> None:
    assert not offered("opening_3", minutes_per_day=None, improvers_minutes_per_day="25.0")


def test_without_the_day_that_the_sentence_names_nothing_is_offered() -> None:
    assert not offered("success_benchmark", benchmark_tasks=15, benchmark_day=None)


@pytest.mark.parametrize(("streak", "expected"), [(4, True), (5, False), (6, False)])
def test_a_streak_is_compared_with_a_threshold_above_it(streak: int, *, expected: bool) -> None:
    assert offered("streak_comparison", current_streak=streak, streak_percentage=85, streak_threshold=5) == expected


def test_a_share_of_zero_percent_is_not_offered() -> None:
    assert not offered("streak_comparison", current_streak=3, streak_percentage=0)


@pytest.mark.parametrize(
    ("own", "average", "expected"), [(11, "12.00", True), (12, "12.00", False), (13, "12.00", False)]
)
def test_catch_up_is_said_below_the_average_alone(own: int, average: str, *, expected: bool) -> None:
    assert offered("opening_4", tasks_this_week=own, cohort_avg_tasks_this_week=average) == expected


def test_below_means_below_in_the_numbers_that_are_printed() -> None:
    assert not offered("opening_4", tasks_this_week=12, cohort_avg_tasks_this_week="12.04")
    assert offered("opening_4", tasks_this_week=12, cohort_avg_tasks_this_week="12.05")


def test_the_daily_dashboard_shows_the_benchmark() -> None:
    assert types("daily_dashboard", **EVERYTHING) == ["success_benchmark"]


def test_without_a_benchmark_the_daily_dashboard_shows_the_cohort() -> None:
    assert types("daily_dashboard", **EVERYTHING | {"benchmark_tasks": None}) == ["cohort_comparison"]


def test_alternates_take_the_free_place_in_their_order() -> None:
    left = EVERYTHING | {"benchmark_tasks": None, "cohort_avg_tasks_completed": None}
    for gone, name in (
        ("speaking_benchmark", "opening_1"),
        ("cohort_top_10_percent_days_practiced", "opening_2"),
        ("improvers_minutes_per_day", "opening_3"),
        ("cohort_avg_tasks_this_week", "opening_4"),
    ):
        assert types("daily_dashboard", **left) == [name]
        left |= {gone: None}
    assert types("daily_dashboard", **left) == []


def test_the_weekly_report_shows_three() -> None:
    assert types("weekly_report", **EVERYTHING) == ["success_benchmark", "cohort_comparison", "top_performers"]


def test_alternates_fill_the_weekly_report() -> None:
    assert types("weekly_report", **EVERYTHING | {"cohort_avg_tasks_completed": None}) == [
        "success_benchmark",
        "top_performers",
        "opening_1",
    ]


def test_places_that_stay_free_are_not_padded() -> None:
    assert types("weekly_report", tasks_completed=8, benchmark_tasks=15, streak_percentage=85) == ["success_benchmark"]


def test_places_count_from_one_without_a_gap() -> None:
    user = EVERYTHING | {"cohort_avg_tasks_completed": None}
    assert ghost_messages(figures(user), ["weekly_report"]).collect()["place"].to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"benchmark_tasks": 15, "cohort_avg_tasks_completed": "8.00"}, ["success_benchmark"]),
        ({"benchmark_tasks": 8, "cohort_avg_tasks_completed": "15.00"}, []),
        ({"benchmark_tasks": None, "cohort_avg_tasks_completed": "15.00"}, ["cohort_comparison"]),
        ({"benchmark_tasks": 0, "cohort_avg_tasks_completed": "15.00"}, ["cohort_comparison"]),
        ({"benchmark_tasks": None, "cohort_avg_tasks_completed": "8.00"}, []),
        ({"benchmark_tasks": None, "cohort_avg_tasks_completed": None}, []),
    ],
)
def test_task_completion_looks_at_the_first_comparison_and_speaks_to_those_behind(
    user: User, expected: list[str]
) -> None:
    assert types("task_completion", **EVERYTHING | user) == expected


@pytest.mark.parametrize(("context", "flag"), [("streak_at_risk", "streak_at_risk"), ("after_inactivity", "silent")])
def test_some_contexts_are_only_for_those_who_are_in_them(context: str, flag: str) -> None:
    assert types(context, **EVERYTHING) == []
    assert types(context, **EVERYTHING, **{flag: True}) != []


def test_after_inactivity_says_where_the_user_stands_whatever_that_is() -> None:
    ahead = EVERYTHING | {"tasks_completed": 30, "silent": True}
    shown = ghost_messages(figures(ahead), ["after_inactivity"]).collect()
    assert shown.select("type", "position", "priority").rows() == [("cohort_comparison", "ahead", "high")]


def test_after_inactivity_has_no_alternates() -> None:
    assert types("after_inactivity", **EVERYTHING | {"cohort_avg_tasks_completed": None, "silent": True}) == []


def test_rows_fulfil_the_contract_and_say_as_of_when_their_figure_is() -> None:
    user = EVERYTHING | {"streak_at_risk": True, "silent": True}
    shown = ghost_messages(figures(user)).collect()
    assert GHOST_MESSAGES.faults(shown) == []
    ages = dict(shown.select("type", "figure_as_of").iter_rows())
    assert ages == {
        "success_benchmark": MONTH_END,
        "cohort_comparison": RELEASED,
        "top_performers": RELEASED,
        "streak_comparison": MONTH_END,
    }


def test_nobody_has_no_messages() -> None:
    nothing = ghost_messages(figures()).collect()
    assert nothing.height == 0
    assert dict(nothing.schema) == GHOST_MESSAGES.polars_schema


def test_asking_for_some_contexts_gives_their_rows_of_all() -> None:
    user = figures(EVERYTHING | {"streak_at_risk": True})
    every = ghost_messages(user).collect()
    for context in CONTEXTS:
        expected = every.filter(pl.col("context") == context)
        assert_frame_equal(ghost_messages(user, [context]).collect(), expected)


def test_a_context_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UnknownArgumentError, match="context must be one of daily_dashboard, task_completion"):
        ghost_messages(figures(EVERYTHING), ["dashboard"])


def test_one_entry_more_is_one_message_more() -> None:
    reading = Message(
        type="reading",
        metric="reading_tasks",
        user_value="reading_tasks",
        figure="cohort_top_25_percent_tasks",
        figure_as_of="cohort_as_of",
        wordings=Wording("{cohort_avg} {metric}, and you {user_value}.", "neutral"),
        alternate=True,
    )
    user = figures({"reading_tasks": 2, "cohort_top_25_percent_tasks": 1})
    shown = ghost_messages(user, ["daily_dashboard"], messages=MESSAGES | {"reading": reading}).collect()
    assert shown.select("type", "metric", "text").rows() == [
        ("reading", "reading_tasks", "1 reading task, and you 2."),
    ]


def test_minutes_that_are_not_whole_are_compared_and_printed_rounded() -> None:
    minutes = replace(
        MESSAGES["success_benchmark"],
        metric="practice_minutes",
        user_value="practice_minutes",
        figure="benchmark_minutes",
    )
    user = {"practice_minutes": 179.996, "benchmark_minutes": 200}
    said = formatted_message(figures(user), minutes).collect()
    assert said["position"].item() == "close"
    assert said["text"].item().endswith("had 200 minutes of practice by Day 12. You're at 180.")


def test_an_answer_has_the_sentences_that_are_offered_whatever_the_context() -> None:
    user = figures(EVERYTHING | {"cohort_avg_tasks_completed": None})
    answer = with_message_texts(user, ["success_benchmark", "cohort_comparison"]).collect()
    assert answer.select("success_benchmark_text", "cohort_comparison_text").row(0) == (
        "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8.",
        None,
    )
    assert answer.columns[: len(SCHEMA)] == SCHEMA.names()


def hundredths(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda value: str(Decimal(value).scaleb(-2)))


@st.composite
def users(draw: st.DrawFn) -> list[User]:
    """Some users, of whom any figure may be missing, zero, or near to where the wording changes."""
    small = st.integers(0, 12)
    figure = st.none() | small
    average = st.none() | hundredths(0, 1300)
    one = st.fixed_dictionaries(
        {
            **dict.fromkeys(("tasks_completed", "tasks_this_week", "speaking_tasks", "current_streak"), small),
            "days_practiced": st.integers(0, 7),
            "minutes_per_day": st.none() | st.integers(0, 300).map(lambda tenths: str(Decimal(tenths).scaleb(-1))),
            "improvers_minutes_per_day": st.none() | st.integers(0, 30).map(lambda tenths: str(Decimal(tenths) / 10)),
            **dict.fromkeys(
                (
                    "benchmark_tasks",
                    "cohort_top_10_percent_tasks",
                    "speaking_benchmark",
                    "cohort_top_10_percent_days_practiced",
                    "streak_percentage",
                ),
                figure,
            ),
            **dict.fromkeys(("cohort_avg_tasks_completed", "cohort_avg_tasks_this_week"), average),
            "streak_threshold": st.sampled_from([None, 3, 5, 7]),
            "benchmark_band": st.sampled_from(["7.0", "7.5", "8.0"]),
            "benchmark_day": st.integers(1, 90),
            **dict.fromkeys(("streak_at_risk", "silent"), st.booleans()),
        }
    )
    rows = draw(st.lists(one, min_size=1, max_size=6))
    names = draw(st.permutations([f"u{number}" for number in range(len(rows))]))
    return [{"user_id": name, **row} for name, row in zip(names, rows, strict=True)]


@examples(15, 60)
@given(users())
def test_all_messages_equal_the_plain_reference(people: list[User]) -> None:
    table = ghost_messages(figures(*people)).collect()
    expected = [
        (user["user_id"], *row)
        for user in figures(*people).collect().sort("user_id").iter_rows(named=True)
        for row in plain_messages.shown(user)
    ]
    assert table.select("user_id", "context", "place", "type", "position", "text").rows() == expected


@examples(6, 20)
@given(users())
def test_a_single_users_messages_are_that_users_rows_of_the_table(people: list[User]) -> None:
    table = ghost_messages(figures(*people)).collect()
    for user in people:
        alone = ghost_messages(figures(user)).collect()
        assert_frame_equal(alone, table.filter(pl.col("user_id") == user["user_id"]))


@examples(6, 20)
@given(users(), st.randoms(use_true_random=False))
def test_the_order_of_users_does_not_matter(people: list[User], chance: Any) -> None:  # noqa: ANN401
    shuffled = list(people)
    chance.shuffle(shuffled)
    assert_frame_equal(ghost_messages(figures(*shuffled)).collect(), ghost_messages(figures(*people)).collect())


@examples(10, 30)
@given(users())
def test_every_number_in_a_text_is_one_of_the_user_as_it_prints(people: list[User]) -> None:
    stored = {user["user_id"]: DEFAULTS | user for user in people}
    for row in ghost_messages(figures(*people)).collect().iter_rows(named=True):
        message, user = MESSAGES[row["type"]], stored[row["user_id"]]
        assert Decimal(str(row["figure"])) == Decimal(user[message.figure])
        assert Decimal(str(row["user_value"])) == Decimal(user[message.user_value])
        about = {user["benchmark_band"], str(user["benchmark_day"]), str(user["streak_threshold"])}
        known = about | {plain_messages.printed(row[name]) for name in ("figure", "user_value")}
        numbers = re.findall(r"\d+(?:\.\d+)?", row["text"].replace("Top 10%", ""))
        assert set(numbers) <= known
