"""The rules of a release in plain Python, one cohort at a time and without a thought for speed (G9.1 to G9.3)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction

Numbers = Mapping[str, int]
People = Mapping[str, Numbers]
"""What people contribute, by their id."""

FIGURES = ("tasks_completed", "tasks_this_week", "practice_time_ms", "current_streak", "days_practiced")
LEVELS = ("tasks_completed", "tasks_this_week", "practice_time_ms", "current_streak")


def balanced(values: Sequence[int], rounding: Fraction = Fraction()) -> bool:
    """Whether what lies outside the three largest is at least a ninth of the two largest."""
    ordered = sorted(values, reverse=True)
    return 9 * (sum(ordered[3:]) + rounding) >= sum(ordered[:2])


def may_follow(people: People, earlier: People) -> bool:
    """Whether a release of `people` may stand beside an earlier one."""
    names = people.keys() | earlier.keys()

    def differences(figure: str, other: str = "") -> list[int]:
        return [abs(_number(people, name, figure) - _number(earlier, name, other or figure)) for name in names]

    for figure in FIGURES:
        changed = [value for value in differences(figure) if value]
        if 0 < len(changed) < 4 or not balanced(changed):
            return False
    half = Fraction(1, 2)
    return balanced(differences("before"), half * (len(people) + len(earlier))) and balanced(
        differences("before", "tasks_completed"), half * len(people)
    )


def _number(people: People, name: str, figure: str) -> int:
    if name not in people:
        return 0
    if figure == "before":
        return people[name]["tasks_completed"] - people[name]["tasks_this_week"]
    return people[name][figure]


class PlainPeers:
    """The releases of one cohort, hour by hour."""

    def __init__(self) -> None:
        """Nothing has been released."""
        self.releases: dict[datetime, People] = {}
        self.shown: datetime | None = None
        self.reason: str | None = None

    def see(self, members: People, active: set[str], as_of: datetime) -> tuple[datetime | None, str | None]:
        """As of which hour peers see figures at `as_of`, or why they see none.

        Args:
            members: those who are in the cohort and not excluded.
            active: the ids of the active ones.
            as_of: the end of the hour.

        """
        last = self.releases[max(self.releases)].keys() & members.keys() if self.releases else set()
        for population in (active, active | last, active & last, last):
            people = {name: members[name] for name in population}
            if self._may_show(people, len(active), as_of):
                self.releases[as_of] = people
                self.shown, self.reason = as_of, None
                return as_of, None
        if self.shown and as_of - self.shown <= timedelta(hours=48):
            return self.shown, None
        self.shown = None
        # The reason stays what it was when the cohort was suppressed.
        self.reason = self.reason or self._reason({name: members[name] for name in active})
        return None, self.reason

    def _reason(self, active: People) -> str:
        if len(active) < 10:
            return "too_few_members"
        return "too_few_changes" if self._is_level(active) else "dominated"

    def _may_show(self, people: People, active: int, as_of: datetime) -> bool:
        compared = {at for at in self.releases if at >= as_of - timedelta(days=14)} | {*sorted(self.releases)[-1:]}
        return (
            min(active, len(people)) >= 10
            and self._is_level(people)
            and all(may_follow(people, self.releases[at]) for at in compared)
        )

    def _is_level(self, people: People) -> bool:
        before = [_number(people, name, "before") for name in people]
        return balanced(before, Fraction(len(people), 2)) and all(
            balanced([numbers[figure] for numbers in people.values()]) for figure in LEVELS
        )
