"""The ghost rules once more in slow plain Python, read from the decisions: what the transforms must equal."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY = timedelta(days=1)
TASKS = ("speaking", "writing", "reading", "listening", "vocabulary", "grammar")

Row = dict[str, Any]


def round_half_away(value: Fraction) -> int:
    """The nearest integer, halves away from zero."""
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


def percentile(values: Sequence[int], percent: int, unit: int = 1) -> int:
    """Linear interpolation at (n - 1) * percent / 100, rounded half away from zero."""
    ordered = sorted(values)
    position = Fraction((len(ordered) - 1) * percent, 100)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    exact = ordered[low] + (position - low) * (ordered[high] - ordered[low])
    return round_half_away(Fraction(exact) / unit)


def zone_of(user: Row) -> ZoneInfo:
    """The user's zone; UTC where there is none or an unknown one."""
    try:
        return ZoneInfo(user["timezone"] or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def local_date(user: Row, instant: datetime) -> date:
    """The calendar date of an instant where the user is."""
    return instant.astimezone(zone_of(user)).date()


def counted(user: Row, events: Sequence[Row], as_of: datetime) -> list[tuple[date, Row]]:
    """The user's events before `as_of` from the created date on, with their local dates."""
    own = [
        (local_date(user, event["completed_at"]), event)
        for event in events
        if event["user_id"] == user["user_id"] and event["completed_at"] < as_of
    ]
    created = local_date(user, user["created_at"])
    return [(day, event) for day, event in own if day >= created]


def day_before(user: Row, day: date) -> date:
    """The date that the user's clocks showed just before a day began."""
    began = datetime.combine(day, time(), zone_of(user)).astimezone(UTC)
    return local_date(user, began - timedelta(microseconds=1))


def streak_on(user: Row, days: set[date], today: date) -> int:
    """Length of the run that ends today or yesterday."""
    last = today if today in days else day_before(user, today)
    length = 0
    while last in days:
        length += 1
        last = day_before(user, last)
    return length


def longest_streak(user: Row, days: set[date]) -> int:
    """Length of the longest run."""
    return max((streak_on(user, days, day) for day in days), default=0)


def streak_status(user: Row, days: set[date], today: date) -> str:
    """Whether the streak goes on today, needs today, or has ended."""
    if today in days:
        return "active"
    return "at_risk" if day_before(user, today) in days else "broken"


def user_stats(user: Row, events: Sequence[Row], as_of: datetime) -> Row:
    """The figures of one user."""
    own = counted(user, events, as_of)
    tasks = [(day, event) for day, event in own if event["task_type"] in TASKS]
    days = {day for day, _ in tasks}
    today = local_date(user, as_of - timedelta(microseconds=1))
    last = max((event["completed_at"] for _, event in tasks), default=None)
    of_type = {kind: sum(event["task_type"] == kind for _, event in own) for kind in (*TASKS, "mock_test")}
    return {
        "user_id": user["user_id"],
        "cohort_id": user["cohort_id"],
        "day_in_journey": (today - local_date(user, user["created_at"])).days + 1,
        "tasks_completed": len(tasks),
        "tasks_this_week": sum(event["completed_at"] >= as_of - 7 * DAY for _, event in tasks),
        "practice_time_ms": sum(event["time_spent_ms"] for _, event in tasks),
        **{f"{module}_tasks": of_type[module] for module in TASKS[:4]},
        "mock_tests": of_type["mock_test"],
        "days_practiced": len(days & {today - age * DAY for age in range(7)}),
        "current_streak": streak_on(user, days, today),
        "longest_streak": longest_streak(user, days),
        "streak_status": streak_status(user, days, today),
        "last_activity_at": last,
        "is_active_member": not user["cohort_excluded"] and last is not None and last >= as_of - 14 * DAY,
    }


def percentile_rank(value: int, values: Sequence[int]) -> int:
    """100 * (members strictly below) // (members)."""
    return 100 * sum(other < value for other in values) // len(values)


def shown_rank(value: int, values: Sequence[int], step: int) -> int:
    """The same in steps of persons."""
    return 100 * (sum(other < value for other in values) // step * step) // len(values)


def score(value: float) -> Fraction:
    """A score as the decimal it was written as."""
    return Fraction(str(value))


def is_achiever(user: Row, as_of: datetime) -> bool:
    """Whether the user has both scores and the result was known before `as_of`."""
    if user["diagnostic_score"] is None or user["final_band_score"] is None or user["created_at"] >= as_of:
        return False
    if user["final_band_at"] is not None:
        return bool(user["final_band_at"] < as_of)
    return user["score_known_at"] is None or user["score_known_at"] <= as_of


def in_population(user: Row, population: str, band: Decimal) -> bool:
    """Whether the final score makes the user an achiever of the band."""
    final = score(user["final_band_score"])
    return final >= band and (population == "at_least" or final < Fraction(band) + Fraction(1, 2))


def starts_at(user: Row, start: Decimal) -> bool:
    """Whether the user started within the half band."""
    return bool(Fraction(start) <= score(user["diagnostic_score"]) < Fraction(start) + Fraction(1, 2))


def day_figures(user: Row, events: Sequence[Row], as_of: datetime, day: int) -> tuple[int, ...] | None:
    """The eight cumulative figures by the end of a journey day (time in ms), None if it has not ended."""
    created = local_date(user, user["created_at"])
    end = created + (day - 1) * DAY
    if local_date(user, as_of) <= end:
        return None
    own = [(date_, event) for date_, event in counted(user, events, as_of) if date_ <= end]
    tasks = [(date_, event) for date_, event in own if event["task_type"] in TASKS]
    return (
        len(tasks),
        sum(event["time_spent_ms"] for _, event in tasks),
        *(sum(event["task_type"] == module for _, event in tasks) for module in TASKS[:4]),
        len(own) - len(tasks),
        streak_on(user, {date_ for date_, _ in tasks}, end),
    )


def benchmarks(
    users: Sequence[Row],
    events: Sequence[Row],
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    days: int,
    percentiles: Sequence[int],
    min_sample: int,
) -> list[tuple[object, ...]]:
    """Key, figures and sample of every benchmark row, in the order of the key."""
    figures: dict[tuple[str, int], tuple[int, ...] | None] = {
        (user["user_id"], day): day_figures(user, events, as_of, day)
        for user in users
        for day in range(1, days + 1)
        if is_achiever(user, as_of)
    }
    rows: list[tuple[object, ...]] = []
    for population in ("at_least", "interval"):
        for band in bands:
            for start in starts:
                members = [
                    user["user_id"]
                    for user in users
                    if is_achiever(user, as_of) and in_population(user, population, band) and starts_at(user, start)
                ]
                for day in range(1, days + 1):
                    of_day = [found for member in members if (found := figures[member, day]) is not None]
                    if len(of_day) < min_sample:
                        continue
                    metrics = list(zip(*of_day, strict=True))
                    size = len(of_day) if population == "interval" else len(of_day) // 5 * 5
                    for percent in percentiles:
                        values = [
                            percentile(metric, 100 - percent, 60_000 if number == 1 else 1)
                            for number, metric in enumerate(metrics)
                        ]
                        rows.append((population, band, start, day, percent, *values, size))
    return rows


def minutes_per_day(users: Sequence[Row], events: Sequence[Row], as_of: datetime) -> Decimal:
    """Message 3 over users who all started alike and reached the lowest band after they were created."""

    def speed(user: Row) -> Fraction:
        gained = score(user["final_band_score"]) - score(user["diagnostic_score"])
        return gained / duration_days(user)

    def duration_days(user: Row) -> Fraction:
        return Fraction((user["final_band_at"] - user["created_at"]) // timedelta(microseconds=1), 86_400_000_000)

    fastest = sorted(users, key=lambda user: (-speed(user), user["user_id"]))[: math.ceil(len(users) / 4)]
    per_user = [
        sum(
            Fraction(event["time_spent_ms"], 60_000)
            for _, event in counted(user, events, as_of)
            if event["task_type"] in TASKS and event["completed_at"] < user["final_band_at"]
        )
        / duration_days(user)
        for user in fastest
    ]
    return Decimal(round_half_away(10 * sum(per_user, Fraction(0)) / len(per_user))).scaleb(-1)


def group_by_cohort(stats: Sequence[Row]) -> dict[str, list[Row]]:
    """The members of every cohort, and all users as `global`."""
    cohorts: dict[str, list[Row]] = defaultdict(list)
    for row in stats:
        if row["cohort_id"] is not None:
            cohorts[row["cohort_id"]].append(row)
        cohorts["global"].append(row)
    return cohorts
