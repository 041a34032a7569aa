"""When a cohort's figures are released, when they stay, and when there are none."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CONTRIBUTIONS
from ghost_pipeline.contracts.ghost import COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.domain.ghost.cohort_ghost_release import member_contributions
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.domain.ghost.release_hours import NOON, Peers, member, people
from ghost_pipeline_tests.reference.months import RULES
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

FIGURES = ["active_member_count", *(metric.name for metric in COHORT_METRICS)]
PERCENTILES = ["top_10_percent_tasks", "top_25_percent_tasks", "top_10_percent_days_practiced"]


D = Decimal
NOBODY = pl.LazyFrame(schema={"user_id": pl.String()})


def size(row: Row) -> int:
    """The people of a new release."""
    assert state(row) == "new"
    return int(row["active_member_count"])


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
    seen = Peers(replace(RULES, min_members_percentiles=10)).see(member_contributions(stats, NOBODY, NOON).collect())
    expected = exact.select(FIGURES).to_dicts()[0]
    assert (expected["avg_tasks_this_week"], expected["avg_days_practiced_per_week"]) == (D("4.18"), D("4.18"))
    shown = {"avg_tasks_this_week": D(4), "avg_days_practiced_per_week": D("4.2")}
    assert {name: seen["c1"][name] for name in FIGURES} == expected | shown


def test_a_half_of_a_week_is_rounded_from_the_exact_mean() -> None:
    # 2,299 / 200 = 11.495: to two decimals 11.50, and from there 12.
    members = [
        {**member(0), "user_id": f"u{number:03}", "tasks_completed": 20, "tasks_this_week": 11 + (number < 99)}
        for number in range(200)
    ]
    assert first(members)["avg_tasks_this_week"] == D(11)


def test_members_who_are_not_excluded_contribute_and_nobody_to_global() -> None:
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
    rows = member_contributions(stats, NOBODY, NOON).collect()
    assert rows.select("user_id", "is_active_member").rows() == [("active", True), ("silent", False)]
    assert COHORT_RELEASE_CONTRIBUTIONS.faults(rows.drop("is_active_member")) == []


def test_every_figure_is_made_of_contributions_that_are_kept() -> None:
    assert {metric.source for metric in COHORT_METRICS} == set(CONTRIBUTIONS)
    assert set(CONTRIBUTIONS) < set(COHORT_RELEASE_CONTRIBUTIONS.polars_schema)


# --- nobody dominates ---

JUDGED = ["tasks_completed", "practice_time_ms", "tasks_this_week", "current_streak"]


def holding(column: str, *numbers: int) -> list[Row]:
    """Twelve members; the first hold these numbers in a column, and all others 0; each as many tasks before."""
    before = 0 if column == "tasks_completed" else 12
    return [
        {**member(number), "tasks_completed": before + value, "tasks_this_week": 0, column: value}
        for number, value in enumerate([*numbers, *[0] * 12][:12])
    ]


@pytest.mark.parametrize("column", JUDGED)
def test_all_but_the_three_largest_must_balance_the_two_largest(column: str) -> None:
    assert state(first(holding(column, 45, 45, 30, 5, 5))) == "new"
    assert state(first(holding(column, 46, 45, 30, 5, 5))) == "dominated"


@pytest.mark.parametrize("column", JUDGED)
def test_the_third_may_be_the_reader_and_balances_nothing(column: str) -> None:
    # The two hold 40 of 44, 91 %; with the third of 4 they would hold 83 %.
    assert state(first(holding(column, 20, 20, 4, 4))) == "dominated"
    assert state(first(holding(column, 20, 20, 4, 4, 1))) == "new"


@pytest.mark.parametrize(("tasks", "expected"), [(54, "new"), (55, "dominated")])
def test_the_total_of_a_week_before_is_a_sum_too(tasks: int, expected: str) -> None:
    # Everybody has 100 tasks of this week, one member alone has earlier ones: 12 x 0.5 is more than a ninth of 54 only.
    members = [{**row, "tasks_completed": 100, "tasks_this_week": 100} for row in people(12)]
    members[0]["tasks_completed"] += tasks
    assert state(first(members)) == expected


@pytest.mark.parametrize("column", JUDGED)
def test_a_sum_of_zero_dominates_nobody(column: str) -> None:
    assert state(first(people(10, **{column: 0}))) == "new"


def test_days_of_the_week_may_stand_out() -> None:
    assert state(first(holding("days_practiced", 7))) == "new"


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


def test_joins_wait_until_they_can_go_together() -> None:
    peers, before = Peers(), people(12)
    newcomers = [member(number) for number in range(12, 16)]
    sizes = [peers.see([*before, *newcomers[:count]])["c1"]["active_member_count"] for count in range(5)]
    assert sizes == [12, 12, 12, 12, 16]


def test_leaving_is_a_change() -> None:
    before, newcomers = people(12), [member(number) for number in range(12, 16)]
    assert then([*before, *newcomers[:3]], before) == "old"
    assert then([*before, *newcomers], before) == "new"


def test_one_who_came_and_one_who_went_are_two_although_the_size_is_the_same() -> None:
    before = people(12)
    assert then(before, [*before[1:], member(12)]) == "old"
    assert then(before, [*before[2:], member(12), member(13)]) == "new"


def test_who_comes_or_goes_with_zero_changes_nothing() -> None:
    idle = [member(number, **dict.fromkeys(CONTRIBUTIONS, 0)) for number in (12, 13)]
    peers, before = Peers(), people(12)
    sizes = [peers.see([*before, *some])["c1"]["active_member_count"] for some in ([], idle[:1], idle, [])]
    assert sizes == [12, 13, 14, 12]


def test_a_member_who_moves_waits_in_the_new_cohort_and_holds_up_the_old_one() -> None:
    peers, c1 = Peers(), people(12)
    c2 = [member(number, "c2") for number in range(20, 32)]
    peers.see([*c1, *c2])
    seen = peers.see([*c1[1:], *c2, member(0, "c2")])
    assert {cohort: (state(row), row["active_member_count"]) for cohort, row in seen.items()} == {
        "c1": ("old", 12),
        "c2": ("new", 12),
    }


def test_members_of_one_cohort_do_not_count_for_another() -> None:
    peers, c1 = Peers(), people(12)
    c2 = [member(number, "c2") for number in range(20, 32)]
    peers.see([*c1, *c2])
    seen = peers.see([*working(c1, range(5)), *working(c2, range(1))])
    assert {cohort: state(row) for cohort, row in seen.items()} == {"c1": "new", "c2": "old"}


def with_more(members: list[Row], *more: int) -> list[Row]:
    """The same members; the first have done more tasks."""
    return [
        {**row, "tasks_completed": row["tasks_completed"] + extra}
        for row, extra in zip(members, [*more, *[0] * len(members)], strict=False)
    ]


def test_a_change_must_not_be_that_of_one_or_two() -> None:
    before = people(12)
    assert then(before, with_more(before, 40, 37, 1, 11)) == "old"
    assert then(before, with_more(before, 5, 4, 1, 1)) == "new"
    assert then(before, with_more(before, 6, 4, 1, 1)) == "old"
    # A departure beside three and four additions: differences of 13, 1, 1, 1 and of 13, 1, 1, 1, 1.
    leaving = member(12, **{name: 13 if name == "tasks_completed" else 0 for name in CONTRIBUTIONS})
    assert then([*before, leaving], with_more(before, 1, 1, 1)) == "old"
    assert then([*before, leaving], with_more(before, 1, 1, 1, 1)) == "new"


def grown(count: int, more_of_one: int, **values: int) -> list[Row]:
    """Members; one had done more a week ago."""
    return [
        member(0, **{**values, "tasks_completed": values["tasks_completed"] + more_of_one}),
        *people(count, **values)[1:],
    ]


@pytest.mark.parametrize(("more", "expected"), [(108, "new"), (109, "old")])
def test_totals_of_a_week_before_may_differ_by_one_member_within_their_rounding(more: int, expected: str) -> None:
    # Tasks less this week are 300 each, and 300 + more of one: 9 x (12 + 12) / 2 = 108.
    before = people(12, tasks_completed=400, tasks_this_week=100)
    assert then(before, grown(12, more, tasks_completed=500, tasks_this_week=200)) == expected


@pytest.mark.parametrize(("more", "expected"), [(54, "new"), (55, "old")])
def test_totals_of_a_week_before_are_compared_with_the_tasks_released_then(more: int, expected: str) -> None:
    # The tasks are released to the hundredth: 9 x 12 / 2 = 54.
    before = people(12, tasks_completed=300, tasks_this_week=0)
    assert then(before, grown(12, more, tasks_completed=350, tasks_this_week=50)) == expected


@pytest.mark.parametrize("now", [{"cohort_excluded": True}, {"cohort_id": "c2"}], ids=["excluded", "moved"])
def test_one_who_is_excluded_or_moves_is_one_change(now: Row) -> None:
    users = [user(f"u{number:02}") for number in range(12)]
    events = progress_frame(event(row["user_id"], "2025-03-12T08:00") for row in users)
    peers = Peers()
    peers.see(member_contributions(user_ghost_stats(users_frame(users), events, NOON), NOBODY, NOON).collect())
    changed = users_frame([{**users[0], **now}, *users[1:]])
    stats = user_ghost_stats(changed, events, NOON + HOUR)
    seen = peers.see(member_contributions(stats, NOBODY, NOON + HOUR).collect())["c1"]
    assert (state(seen), seen["active_member_count"]) == ("old", 12)


def test_one_who_falls_silent_stays_in_the_released_population() -> None:
    users = [user(f"u{number:02}", created_at=at("2025-01-01T00:00")) for number in range(12)]
    events = [
        event("u00", NOON - timedelta(days=14)),
        *(event(row["user_id"], "2025-03-05T08:00") for row in users[1:]),
    ]
    peers = Peers()
    for as_of in (NOON, NOON + HOUR):
        stats = user_ghost_stats(users_frame(users), progress_frame(events), as_of)
        seen = peers.see(member_contributions(stats, NOBODY, as_of).collect())["c1"]
        assert (state(seen), seen["active_member_count"]) == ("new", 12)


def silent(row: Row) -> Row:
    return {**row, "is_active_member": False}


def test_who_falls_silent_and_who_joins_both_wait() -> None:
    """Only those of the last release may be released again: each other population differs by one member."""
    peers, before = Peers(), people(14)
    assert peers.see(before)["c1"]["active_member_count"] == 14
    seen = peers.see([silent(before[0]), *before[1:], member(14)])["c1"]
    assert (state(seen), seen["active_member_count"]) == ("new", 14)
    assert set(peers.contributions.filter(pl.col("as_of") == seen["as_of"])["user_id"]) == {
        row["user_id"] for row in before
    }


def test_the_joined_and_the_silent_go_together_as_soon_as_they_may() -> None:
    peers, before, joined = Peers(), people(14), [member(number) for number in range(14, 18)]
    peers.see(before)
    with_silent = peers.see([silent(before[0]), *before[1:], *joined])["c1"]
    assert (state(with_silent), with_silent["active_member_count"]) == ("new", 17)


def test_silent_members_do_not_make_a_cohort_of_too_few_large_enough() -> None:
    peers, before = Peers(), people(10)
    peers.see(before)
    assert state(peers.see([silent(before[0]), *before[1:]])["c1"]) == "old"


def test_who_was_not_in_the_last_release_is_silent_without_being_waited_for() -> None:
    peers = Peers()
    seen = peers.see([*people(12), silent(member(12))])["c1"]
    assert (state(seen), seen["active_member_count"]) == ("new", 12)


# --- any two releases ---


def test_a_release_is_compared_with_any_other_not_only_with_the_last_one() -> None:
    away, back = people(12), people(16)
    peers = Peers()
    assert [size(peers.see(members)["c1"]) for members in (back, away)] == [16, 12]
    # Four have come since the last release; since the first one, one has come and one gone.
    assert size(peers.see([*back[:15], member(16)])["c1"]) == 12
    assert size(peers.see(back)["c1"]) == 16


def test_an_older_release_is_compared_with_only_where_it_is_the_last() -> None:
    away, back = people(12), people(16)
    for later, expected in ((21, 12), (22, 12), (23, 16)):
        peers = Peers(replace(RULES, compared=timedelta(hours=24)))
        assert [size(peers.see(members)["c1"]) for members in (back, away)] == [16, 12]
        assert size(peers.see([*back[:15], member(16)], later=later)["c1"]) == expected
    peers = Peers()
    peers.see(away)
    assert state(peers.see(working(away, range(1)), later=5000)["c1"]) == "too_few_changes"


def test_releases_of_fourteen_days_are_compared_unless_set_otherwise() -> None:
    away, back = people(12), people(16)
    for later, expected in ((333, 12), (334, 12), (335, 16)):
        peers = Peers()
        assert [size(peers.see(members)["c1"]) for members in (back, away)] == [16, 12]
        assert size(peers.see([*back[:15], member(16)], later=later)["c1"]) == expected


def test_without_the_contributions_to_the_last_release_nothing_new_is_released() -> None:
    peers, before = Peers(), people(12)
    peers.see(before)
    busy = working(before, range(12))
    last = peers.see(busy)["c1"]["released_as_of"]
    peers.contributions = peers.contributions.filter(pl.col("as_of") != last)
    assert state(peers.see(working(busy, range(12)))["c1"]) == "old"


# --- what stays, suppression and back ---

DOMINATING = [member(0, tasks_completed=5000), *people(12)[1:]]
ALONE = [member(20, "c2")]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (people(9), "too_few_members"),
        (ALONE, "too_few_members"),
        (DOMINATING, "dominated"),
        (working(people(12), range(3)), "too_few_changes"),
    ],
    ids=["fallen below ten", "gone", "dominated", "few changes"],
)
def test_the_last_release_stays_for_48_hours_before_a_cohort_is_suppressed(now: list[Row], reason: str) -> None:
    peers = Peers()
    released = peers.see(people(12))["c1"]
    stays = peers.see(now, later=47)["c1"]
    assert state(stays) == "old"
    assert [stays[name] for name in FIGURES] == [released[name] for name in FIGURES]
    for _ in range(2):
        assert state(peers.see(now)["c1"]) == reason


@pytest.mark.parametrize(
    ("members", "reason"), [(people(9), "too_few_members"), (DOMINATING, "dominated")], ids=["too few", "dominated"]
)
def test_a_cohort_without_a_release_is_suppressed_at_once(members: list[Row], reason: str) -> None:
    assert state(first(members)) == reason


def test_the_reason_stays_until_the_next_release() -> None:
    # One that changed would tell in which hour: the tenth member's last activity was 14 days before.
    peers = Peers(replace(RULES, stay=timedelta(0)))
    hours = [people(12), working(people(12), range(3)), people(9), DOMINATING, people(12), people(9)]
    assert [state(peers.see(members)["c1"]) for members in hours] == [
        "new",
        *["too_few_changes"] * 3,
        "new",
        "too_few_members",
    ]


def test_how_long_a_release_stays_is_a_setting() -> None:
    peers = Peers(replace(RULES, stay=timedelta(hours=2)))
    peers.see(people(12))
    assert [state(peers.see(people(9))["c1"]) for _ in range(3)] == ["old", "old", "too_few_members"]


def test_after_a_suppression_a_release_is_compared_with_the_one_before_it() -> None:
    peers, before = Peers(replace(RULES, stay=timedelta(0))), people(10)
    released = peers.see(before)["c1"]
    assert state(peers.see(before[1:])["c1"]) == "too_few_members"
    stays_away = peers.see([*before[1:], member(10)])["c1"]
    assert not stays_away["released"]
    assert stays_away["last_release_as_of"] == released["released_as_of"]
    assert state(peers.see([*before[2:], member(10), member(11)])["c1"]) == "new"


def test_a_suppressed_cohort_comes_back_with_the_same_members() -> None:
    peers, before = Peers(replace(RULES, stay=timedelta(0))), people(10)
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
    assert (seen["active_member_count"], seen["avg_tasks_completed"]) == (10, D("13.00"))
    assert first(people(13), rules)["active_member_count"] == 15
    # 12 + 5/11 is 12.45 to two decimals, 12.5 to one, and 12.
    assert first(working(people(11), range(5)), rules)["avg_tasks_completed"] == D("12.00")


def test_the_strict_profile_rounds_no_figure_twice() -> None:
    # 2,299 / 200 = 11.495, which to two decimals is 11.50.
    members = [
        {**member(0), "user_id": f"u{number:03}", "tasks_completed": 11 + (number < 99)} for number in range(200)
    ]
    assert first(members)["avg_tasks_completed"] == D("11.50")
    assert first(members, replace(RULES, strict=True))["avg_tasks_completed"] == D("11.00")


def test_the_strict_profile_counts_members_exactly_for_the_rules() -> None:
    assert state(first(people(9), replace(RULES, strict=True))) == "too_few_members"
    assert first(people(49), replace(RULES, strict=True))["top_10_percent_tasks"] is None
    assert first(people(50), replace(RULES, strict=True))["top_10_percent_tasks"] == 12


def test_thresholds_are_settings() -> None:
    rules = replace(RULES, min_members=3, min_members_percentiles=3, max_share_percent=100, min_changed=1)
    before = [member(0, tasks_completed=1000), member(1), member(2)]
    assert first(before, rules)["top_10_percent_tasks"] is not None
    assert then(before, working(before, range(1)), rules) == "new"


def test_without_members_and_without_a_ledger_there_are_no_rows() -> None:
    assert Peers().see(pl.DataFrame(schema={**COHORT_RELEASE_CONTRIBUTIONS.polars_schema})) == {}


def test_a_release_that_stays_keeps_what_needs_more_members_now() -> None:
    """The hour in which a figure vanished would be 14 days after the last activity of the one who left."""
    peers = Peers()
    released = peers.see(people(20))["c1"]
    assert released["top_10_percent_tasks"] == 12
    fewer = peers.see(people(17))["c1"]
    assert state(fewer) == "old"
    assert [fewer[name] for name in FIGURES] == [released[name] for name in FIGURES]


def test_under_the_strict_profile_what_was_released_before_it_is_rounded_too() -> None:
    peers = Peers()
    members = [member(0, tasks_completed=17), *people(24)[1:]]
    assert peers.see(members)["c1"]["avg_tasks_completed"] == D("12.21")
    peers.rules = replace(RULES, strict=True)
    kept = peers.see(working(members, range(1)))["c1"]
    assert state(kept) == "old"
    assert (kept["avg_tasks_completed"], kept["active_member_count"]) == (D("12.00"), 25)
    assert kept["top_10_percent_tasks"] is None
