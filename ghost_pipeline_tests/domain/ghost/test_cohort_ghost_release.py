"""When a cohort's figures are released, when they stay, and when there are none."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CONTRIBUTIONS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.domain.ghost.cohort_ghost_release import (
    ReleaseRules,
    changed_members,
    cohort_ghost_release,
    member_contributions,
)
from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.domain.ghost.release_hours import NOON, Peers, contributions, member, people
from ghost_pipeline_tests.reference.months import RULES
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

FIGURES = ["active_member_count", *(metric.name for metric in COHORT_METRICS)]
PERCENTILES = ["top_10_percent_tasks", "top_25_percent_tasks", "top_10_percent_days_practiced"]


def state(row: Row) -> str:
    """A row in a word: released anew, an older release that stays, or the reason why there is none."""
    shown = {name: row[name] for name in FIGURES if row[name] is not None}
    if not row["released"]:
        assert shown == {}
        assert row["released_as_of"] is None
        return str(row["suppressed_reason"])
    assert row["suppressed_reason"] is None
    assert row["released_as_of"] == row["last_release_as_of"]
    assert {"active_member_count", "avg_tasks_completed"} <= shown.keys()
    return "new" if row["released_as_of"] == row["as_of"] else "old"


def first(members: list[Row], rules: ReleaseRules = RULES, cohort_id: str = "c1") -> Row:
    return Peers(rules).see(members)[cohort_id]


def then(before: list[Row], now: list[Row], rules: ReleaseRules = RULES) -> str:
    """What becomes of a cohort that was released an hour before."""
    peers = Peers(rules)
    assert state(peers.see(before)["c1"]) == "new"
    return state(peers.see(now)["c1"])


def working(members: list[Row], numbers: range, column: str = "tasks_completed") -> list[Row]:
    """The same members; some have done one more."""
    return [{**row, column: row[column] + 1} if number in numbers else row for number, row in enumerate(members)]


# --- enough members ---


def test_nine_members_are_too_few_and_ten_are_enough() -> None:
    assert state(first(people(9))) == "too_few_members"
    assert state(first(people(10))) == "new"


def test_percentiles_of_the_top_need_twenty_members() -> None:
    assert [first(people(19))[name] for name in PERCENTILES] == [None, None, None]
    assert [first(people(20))[name] for name in PERCENTILES] == [12, 12, 4]


def test_the_median_needs_ten_members_only() -> None:
    assert first(people(10))["median_streak"] == 3


def test_the_figures_are_those_of_the_exact_snapshot() -> None:
    users = [user(f"u{number:02}") for number in range(20)]
    events = [
        event(row["user_id"], f"2025-03-{12 - day:02}T08:00", minutes=number + day / 7)
        for number, row in enumerate(users)
        for day in range(number % 9)
    ]
    stats = user_ghost_stats(users_frame(users), progress_frame(events), NOON)
    exact = cohort_ghost_data(stats, NOON).filter(pl.col("cohort_id") == "c1").collect()
    seen = Peers(replace(RULES, min_members_percentiles=10)).see(member_contributions(stats, NOON).collect())
    assert {name: seen["c1"][name] for name in FIGURES} == exact.select(FIGURES).to_dicts()[0]


def test_only_active_members_of_a_cohort_contribute_and_nobody_to_global() -> None:
    users = [
        user("active"),
        user("silent", created_at=at("2025-01-01T00:00")),
        user("out", cohort_excluded=True),
        user("alone", cohort_id=None),
        user("odd", cohort_id="global"),
    ]
    events = [event(row["user_id"], "2025-03-12T08:00") for row in users if row["user_id"] != "silent"]
    events.append(event("silent", "2025-02-01T08:00"))
    stats = user_ghost_stats(users_frame(users), progress_frame(events), NOON)
    rows = member_contributions(stats, NOON).collect()
    assert rows["user_id"].to_list() == ["active"]
    assert COHORT_RELEASE_CONTRIBUTIONS.faults(rows) == []


def test_every_figure_is_made_of_contributions_that_are_kept() -> None:
    assert {metric.source for metric in COHORT_METRICS} == set(CONTRIBUTIONS)
    assert set(CONTRIBUTIONS) < set(COHORT_RELEASE_CONTRIBUTIONS.polars_schema)


# --- nobody dominates ---


@pytest.mark.parametrize("column", ["tasks_completed", "practice_time_ms", "tasks_this_week"])
def test_two_members_may_hold_nine_tenths_of_a_sum_and_not_one_more(column: str) -> None:
    two = [member(0, **{column: 45}), member(1, **{column: 45})]
    others = [member(number, **{column: 1}) for number in range(2, 12)]
    assert state(first([*two, *others])) == "new"
    assert state(first([member(0, **{column: 46}), *two[1:], *others])) == "dominated"


@pytest.mark.parametrize("column", ["tasks_completed", "practice_time_ms", "tasks_this_week"])
def test_a_sum_of_zero_dominates_nobody(column: str) -> None:
    assert state(first(people(10, **{column: 0}))) == "new"


def test_a_streak_may_stand_out() -> None:
    assert state(first([member(0, current_streak=900), *(member(n, current_streak=0) for n in range(1, 10))])) == "new"


# --- enough changes ---


def test_three_changed_members_are_too_few_and_four_are_enough() -> None:
    before = people(12)
    assert then(before, working(before, range(3))) == "old"
    assert then(before, working(before, range(4))) == "new"


def test_where_nobody_has_changed_the_release_is_renewed() -> None:
    assert then(people(12), people(12)) == "new"


@pytest.mark.parametrize("column", CONTRIBUTIONS)
def test_each_contribution_counts_for_itself(column: str) -> None:
    before = people(12)
    for four in CONTRIBUTIONS:
        now = working(before, range(4), four)
        assert then(before, now) == "new"
        assert then(before, working(now, range(11, 12), column)) == ("new" if column == four else "old")


def test_an_old_release_stays_with_its_figures_and_its_own_clock() -> None:
    peers, before = Peers(), people(12)
    released = peers.see(before)["c1"]
    for busy in range(1, 4):
        stays = peers.see(working(before, range(busy)))["c1"]
        assert state(stays) == "old"
        assert stays["as_of"] == NOON + busy * HOUR
        assert [stays[name] for name in ("released_as_of", *FIGURES)] == [
            released[name] for name in ("released_as_of", *FIGURES)
        ]


def test_changes_add_up_over_the_hours_since_the_release() -> None:
    peers, members = Peers(), people(12)
    seen = []
    for number in range(5):
        seen.append(state(peers.see(members)["c1"]))
        members = working(members, range(number, number + 1))
    assert seen == ["new", "old", "old", "old", "new"]


def test_who_came_or_went_has_changed_in_everything() -> None:
    before, newcomers = people(12), [member(number) for number in range(12, 16)]
    assert then(before, [*before, *newcomers[:3]]) == "old"
    assert then(before, [*before, *newcomers]) == "new"
    assert then([*before, *newcomers[:3]], before) == "old"
    assert then([*before, *newcomers], before) == "new"


def test_one_who_came_and_one_who_went_are_two_although_the_size_is_the_same() -> None:
    before = people(12)
    assert then(before, [*before[1:], member(12)]) == "old"
    assert then(before, [*before[2:], member(12), member(13)]) == "new"


def test_a_newcomer_without_a_task_has_changed_all_the_same() -> None:
    idle = dict.fromkeys(CONTRIBUTIONS, 0)
    before = people(12)
    assert then(before, [*before, member(12, **idle)]) == "old"


def test_a_member_who_moves_changes_both_cohorts() -> None:
    peers, c1 = Peers(), people(12)
    c2 = [member(number, "c2") for number in range(20, 32)]
    peers.see([*c1, *c2])
    seen = peers.see([*c1[1:], *c2, member(0, "c2")])
    assert {cohort: state(row) for cohort, row in seen.items()} == {"c1": "old", "c2": "old"}


def test_members_of_one_cohort_do_not_count_for_another() -> None:
    peers, c1 = Peers(), people(12)
    c2 = [member(number, "c2") for number in range(20, 32)]
    peers.see([*c1, *c2])
    seen = peers.see([*working(c1, range(5)), *working(c2, range(1))])
    assert {cohort: state(row) for cohort, row in seen.items()} == {"c1": "new", "c2": "old"}


def test_changed_members_are_counted_by_contribution() -> None:
    before = people(6)
    now = [*working(working(before, range(2)), range(1, 2), "current_streak")[:5], member(9)]
    counted = changed_members(contributions(now, NOON + HOUR).lazy(), contributions(before, NOON).lazy()).collect()
    assert counted.to_dicts() == [
        {
            "cohort_id": "c1",
            "as_of": NOON,
            "tasks_completed": 4,
            "tasks_this_week": 2,
            "practice_time_ms": 2,
            "current_streak": 3,
            "days_practiced": 2,
        }
    ]


@pytest.mark.parametrize("now", [{"cohort_excluded": True}, {"cohort_id": "c2"}], ids=["excluded", "moved"])
def test_one_who_is_excluded_or_moves_is_one_change(now: Row) -> None:
    users = [user(f"u{number:02}") for number in range(12)]
    events = progress_frame(event(row["user_id"], "2025-03-12T08:00") for row in users)
    peers = Peers()
    peers.see(member_contributions(user_ghost_stats(users_frame(users), events, NOON), NOON).collect())
    changed = users_frame([{**users[0], **now}, *users[1:]])
    stats = user_ghost_stats(changed, events, NOON + HOUR)
    seen = peers.see(member_contributions(stats, NOON + HOUR).collect())["c1"]
    assert (state(seen), seen["active_member_count"]) == ("old", 12)


def test_one_whose_last_activity_is_fourteen_days_old_is_one_change() -> None:
    users = [user(f"u{number:02}", created_at=at("2025-01-01T00:00")) for number in range(12)]
    events = [
        event("u00", NOON - timedelta(days=14)),
        *(event(row["user_id"], "2025-03-05T08:00") for row in users[1:]),
    ]
    peers = Peers()
    for as_of, expected in ((NOON, "new"), (NOON + HOUR, "old")):
        stats = user_ghost_stats(users_frame(users), progress_frame(events), as_of)
        seen = peers.see(member_contributions(stats, as_of).collect())["c1"]
        assert (state(seen), seen["active_member_count"]) == (expected, 12)


# --- any two releases ---


def test_a_release_is_compared_with_any_other_not_only_with_the_last_one() -> None:
    away, back = people(12), people(16)
    peers = Peers()
    assert [state(peers.see(members)["c1"]) for members in (back, away)] == ["new", "new"]
    assert state(peers.see([*back[:15], member(16)])["c1"]) == "old"
    assert state(peers.see(back)["c1"]) == "new"


def test_an_older_release_is_compared_with_only_where_it_is_the_last() -> None:
    away, back = people(12), people(16)
    for later, expected in ((21, "old"), (22, "old"), (23, "new")):
        peers = Peers(replace(RULES, compared=timedelta(hours=24)))
        assert [state(peers.see(members)["c1"]) for members in (back, away)] == ["new", "new"]
        assert state(peers.see([*back[:15], member(16)], later=later)["c1"]) == expected
    peers = Peers()
    peers.see(away)
    assert state(peers.see(working(away, range(1)), later=5000)["c1"]) == "old"


def test_without_the_contributions_to_the_last_release_nothing_new_is_released() -> None:
    peers, before = Peers(), people(12)
    peers.see(before)
    busy = working(before, range(12))
    last = peers.see(busy)["c1"]["released_as_of"]
    peers.contributions = peers.contributions.filter(pl.col("as_of") != last)
    assert state(peers.see(working(busy, range(12)))["c1"]) == "old"


# --- suppression and back ---


def test_a_cohort_that_falls_below_ten_is_suppressed_at_once() -> None:
    assert then(people(10), people(9)) == "too_few_members"


def test_a_cohort_that_comes_to_be_dominated_is_suppressed_at_once() -> None:
    before = people(12)
    assert then(before, [member(0, tasks_completed=5000), *before[1:]]) == "dominated"


def test_a_cohort_without_any_active_member_stays_in_the_ledger() -> None:
    peers = Peers()
    peers.see(people(10))
    other = [member(20, "c2")]
    assert state(peers.see(other)["c1"]) == "too_few_members"
    assert state(peers.see(other)["c1"]) == "too_few_members"


def test_after_a_suppression_a_release_is_compared_with_the_one_before_it() -> None:
    peers, before = Peers(), people(10)
    released = peers.see(before)["c1"]
    assert state(peers.see(before[1:])["c1"]) == "too_few_members"
    stays_away = peers.see([*before[1:], member(10)])["c1"]
    assert state(stays_away) == "too_few_changes"
    assert stays_away["last_release_as_of"] == released["released_as_of"]
    assert state(peers.see([*before[2:], member(10), member(11)])["c1"]) == "new"


def test_a_suppressed_cohort_comes_back_with_the_same_members() -> None:
    peers, before = Peers(), people(10)
    assert [state(peers.see(members)["c1"]) for members in (before, before[1:], before)] == [
        "new",
        "too_few_members",
        "new",
    ]


def test_a_cohort_that_was_never_released_has_nothing_to_be_compared_with() -> None:
    peers = Peers()
    assert state(peers.see(people(9))["c1"]) == "too_few_members"
    assert state(peers.see(people(10))["c1"]) == "new"


# --- the strict profile and thresholds ---


def test_the_strict_profile_rounds_averages_to_whole_numbers_and_the_size_to_fives() -> None:
    rules = replace(RULES, strict=True)
    members = working(people(12), range(6))
    seen = first(members, rules)
    assert (seen["active_member_count"], seen["avg_tasks_completed"]) == (10, Decimal("13.00"))
    assert first(people(13), rules)["active_member_count"] == 15
    # 12 + 5/11 is 12.45 to two decimals, 12.5 to one, and 12.
    assert first(working(people(11), range(5)), rules)["avg_tasks_completed"] == Decimal("12.00")


def test_the_strict_profile_rounds_no_figure_twice() -> None:
    # 2,299 / 200 = 11.495, which to two decimals is 11.50.
    members = [
        {**member(0), "user_id": f"u{number:03}", "tasks_completed": 11 + (number < 99)} for number in range(200)
    ]
    assert first(members)["avg_tasks_completed"] == Decimal("11.50")
    assert first(members, replace(RULES, strict=True))["avg_tasks_completed"] == Decimal("11.00")


def test_the_strict_profile_counts_members_exactly_for_the_rules() -> None:
    assert state(first(people(9), replace(RULES, strict=True))) == "too_few_members"
    assert first(people(19), replace(RULES, strict=True))["top_10_percent_tasks"] is None


def test_thresholds_are_settings() -> None:
    rules = replace(RULES, min_members=3, min_members_percentiles=3, max_share_percent=100, min_changed=1)
    before = [member(0, tasks_completed=1000), member(1), member(2)]
    assert first(before, rules)["top_10_percent_tasks"] is not None
    assert then(before, working(before, range(1)), rules) == "new"


def test_without_members_and_without_a_ledger_there_are_no_rows() -> None:
    nobody = COHORT_RELEASE_CONTRIBUTIONS.empty().lazy()
    release = cohort_ghost_release(nobody, COHORT_GHOST_RELEASE.empty().lazy(), nobody, NOON, RULES).collect()
    assert release.height == 0
    assert COHORT_GHOST_RELEASE.faults(release) == []


def test_a_release_that_stays_loses_what_needs_more_members() -> None:
    peers = Peers()
    assert peers.see(people(20))["c1"]["top_10_percent_tasks"] == 12
    fewer = peers.see(people(17))["c1"]
    assert state(fewer) == "old"
    assert (fewer["active_member_count"], fewer["avg_tasks_completed"]) == (20, Decimal("12.00"))
    assert (fewer["top_10_percent_tasks"], fewer["top_25_percent_tasks"]) == (None, None)
    assert fewer["top_10_percent_days_practiced"] is None


def test_under_the_strict_profile_what_was_released_before_it_is_rounded_too() -> None:
    peers = Peers()
    members = [member(0, tasks_completed=17), *people(24)[1:]]
    assert peers.see(members)["c1"]["avg_tasks_completed"] == Decimal("12.21")
    peers.rules = replace(RULES, strict=True)
    kept = peers.see(working(members, range(1)))["c1"]
    assert state(kept) == "old"
    assert (kept["avg_tasks_completed"], kept["active_member_count"]) == (Decimal("12.00"), 25)
