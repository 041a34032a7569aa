"""Attacks on the monthly figures: one month against another (A2), and nested populations of one month (A6)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.attacks.diaries import BORN, METRICS, Achiever, Diaries
from ghost_pipeline_tests.attacks.isolation import FEW, Tally
from ghost_pipeline_tests.attacks.worlds import Ints
from ghost_pipeline_tests.running import run

MEANS, DAY_LEVELS, DAY_BY_DAY, SHARES, IMPROVERS, NESTED, ALL_STARTS = (
    "A2 means, month by month",
    "A6 means of a month, one by one",
    "A6 means of a month, day by day",
    "A2 streak shares, month by month",
    "A2 fastest improvers, month by month",
    "A6 nested populations of a month",
    "A6 all starts minus the published ones",
)
HALF = 0.005
DAYS_APART = 7
REMAINING = (DAY_BY_DAY, NESTED)
"""What no rule keeps: neither days of a month nor its populations are judged beside one another (G9.6, G9.7)."""
STEP = 5
KEYS = (*METRICS[:-1], "streak_avg")
"""`METRICS` as the dictionary form names them."""
Row = dict[str, Any]
Figures = dict[str, float | None]
"""Means by `KEYS`; None where one is withheld."""


@dataclass(frozen=True)
class Published:
    """What a publication shows of a month."""

    month: int
    dictionary: dict[str, dict[str, dict[str, Figures]]]
    benchmarks: list[Row]
    shares: list[Row]
    improvers: list[Row]


def play_months(diaries: Diaries, folder: Path, variables: Mapping[str, str] | None = None) -> list[Published]:
    """Build every month as a schedule would, and keep what is published after each."""
    data, source = folder / "data", folder / "source"
    kept = []
    for number in range(diaries.months):
        month = diaries.month(number)
        diaries.write(source, number)
        # A month serves a day after its end.
        arguments = ["materialize", "--as-of", f"{month.as_of + 26 * HOUR:%Y-%m-%dT%H:%MZ}"]
        # Everybody's diary has ended by the first month.
        done = run(arguments, data, source, **{"GHOST_QUIET_HOURS": "8784", **(variables or {})})
        assert done.returncode == 0, done.stderr
        kept.append(
            Published(
                number,
                json.loads((data / "ghost_benchmarks.json").read_text(encoding="utf-8")),
                _rows(data, "ghost_benchmarks", month.key, "day_number > 0 AND success_percentile = 50"),
                _rows(data, "ghost_streak_shares", month.key),
                _rows(data, "ghost_fastest_improvers", month.key),
            )
        )
    return kept


def _rows(data: Path, table: str, month: str, where: str = "true") -> list[Row]:
    statement = f"SELECT * FROM {table} WHERE month = '{month}' AND {where}"  # noqa: S608 - our own names
    asked = run(["query", "--json", statement], data)
    assert asked.returncode == 0, asked.stderr
    found: list[Row] = json.loads(asked.stdout)
    return found


def months(diaries: Diaries, published: Sequence[Published]) -> dict[str, Tally]:
    """Try every figure of every month against those of every other one, and nested populations."""
    return {
        MEANS: _means(diaries, published),
        DAY_LEVELS: _days_of_a_month(diaries, published, 0),
        DAY_BY_DAY: _days_of_a_month(diaries, published, DAYS_APART),
        SHARES: _shares(diaries, published),
        IMPROVERS: _improvers(diaries, published),
        NESTED: _nested(diaries, published),
        ALL_STARTS: _all_starts(diaries, published),
    }


def _of_month(diaries: Diaries, row: Row, shown: Published) -> int:
    """The month, by its number, that a row is from."""
    keys = [diaries.month(number).key for number in range(diaries.months)]
    return keys.index(str(row.get("renewed") or keys[shown.month]))


# --- means ---


@dataclass(frozen=True)
class _Sample:
    """Which month a row is from, and its size."""

    month: int
    size: int


Means = dict[tuple[str, str], dict[int, dict[_Sample, Figures]]]


def _by_cell(diaries: Diaries, published: Sequence[Published]) -> Means:
    """Means by band and start, day, and the sample that they are of."""
    cells: Means = {}
    for shown in published:
        for row in shown.benchmarks:
            if row["population"] == "interval":
                band, start, day = _score(row["target_band"]), _score(row["starting_skill"]), int(row["day_number"])
                means = shown.dictionary[f"band_{band}_achievers"][f"starting_skill_{start}"][f"day_{day}"]
                sample = _Sample(_of_month(diaries, row, shown), int(row["sample_size"]))
                cells.setdefault((band, start), {}).setdefault(day, {})[sample] = means
    return cells


def _people_of(diaries: Diaries, cell: tuple[str, str]) -> list[Achiever]:
    return [one for one in diaries.people if (one.band, one.start) == (Decimal(cell[0]), Decimal(cell[1]))]


def _means(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    for cell, days in _by_cell(diaries, published).items():
        people = _people_of(diaries, cell)
        for day, by_sample in days.items():
            for one, other in combinations(by_sample.items(), 2):
                _subtract(tally, people, day, one, other)
    return tally


def _days_of_a_month(diaries: Diaries, published: Sequence[Published], apart: int) -> Tally:
    """Try the means of each day by themselves, or those of two days of the same people up to so many days apart."""
    tally = Tally()
    for cell, days in _by_cell(diaries, published).items():
        people = _people_of(diaries, cell)
        for day, by_sample in days.items():
            for sample, means in by_sample.items():
                inside = np.array([one.arrives <= sample.month for one in people])
                figures = np.stack([one.figures for one in people]) * inside[:, None, None]
                for back in range(1, apart + 1) if apart else (0,):
                    before = days.get(day - back, {}).get(sample)
                    if before is None:
                        continue
                    told = _told(means, before)
                    parts = (figures[:, :, day - 1] - (figures[:, :, day - back - 1] if apart else 0))[:, told]
                    slack = np.full(len(told), sample.size * HALF * (2 if apart else 1))
                    what = [f"{cell} day {day} less {back} {KEYS[place]}" for place in told]
                    tally.judge(_without_reader(parts), slack, ["", *(one.user_id for one in people)], what)
    return tally


def _told(means: Figures, before: Figures) -> list[int]:
    """The places in `KEYS` of the means that two rows show."""
    return [place for place, key in enumerate(KEYS) if means[key] is not None and before[key] is not None]


def _without_reader(parts: Ints) -> Ints:
    """Put the reader first, who is no achiever, before the parts of people by sum."""
    return np.concatenate([np.zeros((parts.shape[1], 1), dtype=np.int64), parts.T], axis=1)


def _subtract(
    tally: Tally,
    people: list[Achiever],
    day: int,
    one: tuple[_Sample, Figures],
    other: tuple[_Sample, Figures],
) -> None:
    (then, before), (now, after) = one, other
    entered = [(each.arrives <= now.month) - (each.arrives <= then.month) for each in people]
    parts = np.stack([each.figures[:, day - 1] for each in people]) * np.array(entered)[:, None]
    slack = (then.size + now.size) * HALF
    # What was shown has to be what the world adds up to: otherwise the attack does not understand the months.
    assert now.size - then.size == sum(entered)
    told = _told(before, after)
    for place in told:
        was, shown = before[KEYS[place]] or 0, after[KEYS[place]] or 0
        assert abs(shown * now.size - was * then.size - parts[:, place].sum()) <= slack + 1e-6, (day, KEYS[place])
    what = [f"months {then.month}, {now.month}, day {day} {KEYS[place]}" for place in told]
    names = ["", *(each.user_id for each in people)]
    tally.judge(_without_reader(parts[:, told]), np.full(len(told), slack), names, what)


def _score(value: object) -> str:
    return f"{Decimal(str(value)):.1f}"


# --- shares ---


@dataclass(frozen=True)
class _Share:
    """Streak shares of a population, as shown, of one and the same month."""

    month: int
    sizes: tuple[int, ...]
    """The sizes that the population can have."""
    percentages: dict[int, int]
    """By threshold."""
    people: frozenset[str]


Cells = dict[tuple[str, str | None], list[_Share]]


def _share_cells(diaries: Diaries, shown: Published) -> Cells:
    # A reader knows the rules, and sees soon whether all sizes are multiples of five.
    in_steps = all(int(row["sample_size"]) % STEP == 0 for row in shown.shares)
    rows: dict[tuple[str, str | None, int], list[Row]] = {}
    for row in shown.shares:
        start = None if row["starting_skill"] is None else _score(row["starting_skill"])
        rows.setdefault((_score(row["target_band"]), start, _of_month(diaries, row, shown)), []).append(row)
    cells: Cells = {}
    for (band, start, month), found in rows.items():
        people = frozenset(one.user_id for one in diaries.arrived(month) if _within(one, band, start))
        told = {int(row["sample_size"]) for row in found}.pop()
        sizes = tuple(range(told, told + STEP)) if in_steps else (told,)
        assert len(people) in sizes, (band, start)
        percentages = {int(row["streak_threshold"]): int(row["percentage"]) for row in found}
        cells.setdefault((band, start), []).append(_Share(month, sizes, percentages, people))
    return cells


def _within(one: Achiever, band: str, start: str | None) -> bool:
    return one.band >= Decimal(band) and (start is None or one.start == Decimal(start))


def _shares(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    states: dict[tuple[str, str | None], dict[tuple[int, int], _Share]] = {}
    for shown in published:
        for cell, found in _share_cells(diaries, shown).items():
            # The same state may be shown again by later months.
            states.setdefault(cell, {}).update({(share.month, len(share.percentages)): share for share in found})
    for cell, shares in states.items():
        for one, other in combinations(shares.values(), 2):
            outer, inner = (one, other) if one.month > other.month else (other, one)
            _between(tally, outer, inner, f"{cell}")
    return tally


def _nested(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    for shown in published:
        cells = _share_cells(diaries, shown)
        for (band, start), (higher, same) in product(cells, cells):
            if start == same and Decimal(band) < Decimal(higher):
                for outer, inner in product(cells[band, start], cells[higher, same]):
                    _between(tally, outer, inner, f"{start} {band} and {higher}")
    return tally


def _between(tally: Tally, outer: _Share, inner: _Share, what: str) -> None:
    """Work out what the people between two populations, one inside the other, have reached."""
    between = outer.people - inner.people
    thresholds = sorted(outer.percentages.keys() & inner.percentages.keys())
    if not between or not thresholds or inner.people - outer.people:
        return
    solutions = {
        (more, reached)
        for size in outer.sizes
        for inside in inner.sizes
        if (more := size - inside) >= 0
        for reached in _profiles(
            [_reached(outer, size, days) for days in thresholds],
            [_reached(inner, inside, days) for days in thresholds],
            more,
        )
    }
    _judge(tally, solutions, between, what)


def _judge(tally: Tally, solutions: set[tuple[int, tuple[int, ...]]], between: frozenset[str], what: str) -> None:
    """Count as won where one or two people are between, and what they reached has one solution."""
    tally.tried += 1
    if not solutions or any(more not in range(1, FEW + 1) for more, _ in solutions):
        return
    known = [len(set(of_threshold)) == 1 for of_threshold in zip(*(reached for _, reached in solutions), strict=True)]
    if any(known):
        tally.near += 1
        tally.exact += all(known)
        tally.people |= between
        tally.examples.append(f"{what}: {sorted(solutions)[:2]}")


def _reached(share: _Share, size: int, days: int) -> range:
    """How many can have reached a threshold."""
    counts = [one for one in range(size + 1) if (200 * one + size) // (2 * size) == share.percentages[days]]
    return range(counts[0], counts[-1] + 1) if counts else range(0)


def _profiles(outer: list[range], inner: list[range], more: int) -> Iterator[tuple[int, ...]]:
    """How many of the people between can have reached each threshold: the longer, the fewer."""
    by_threshold = [
        [many for many in range(more + 1) if any(count - many in inside for count in outside)]
        for outside, inside in zip(outer, inner, strict=True)
    ]
    for profile in product(*by_threshold):
        if all(one >= other for one, other in pairwise(profile)):
            yield profile


def _all_starts(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    for shown in published:
        cells = _share_cells(diaries, shown)
        for (band, start), states in cells.items():
            parts = [found for (of, one), found in cells.items() if of == band and one is not None]
            if start is None and parts:
                for whole, *inside in product(states, *parts):
                    _subtract_parts(tally, whole, inside, band)
    return tally


def _subtract_parts(tally: Tally, whole: _Share, parts: list[_Share], band: str) -> None:
    between = whole.people - frozenset().union(*(one.people for one in parts))
    days = sorted(set(whole.percentages).intersection(*(one.percentages for one in parts)))
    if not between or not days or not all(one.people <= whole.people for one in parts):
        return
    solutions = set()
    for sizes in product(whole.sizes, *(one.sizes for one in parts)):
        more = sizes[0] - sum(sizes[1:])
        if more >= 0:
            inside = [[_reached(one, size, at) for one, size in zip(parts, sizes[1:], strict=True)] for at in days]
            sums = [range(sum(one.start for one in each), sum(one.stop - 1 for one in each) + 1) for each in inside]
            outer = [_reached(whole, sizes[0], at) for at in days]
            solutions |= {(more, one) for one in _profiles(outer, sums, min(more, FEW + 1))}
    _judge(tally, solutions, between, f"all starts, {band}")


# --- improvers ---


def _improvers(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    by_start: dict[str, dict[int, float]] = {}
    for shown in published:
        for row in shown.improvers:
            by_month = by_start.setdefault(_score(row["starting_skill"]), {})
            by_month[_of_month(diaries, row, shown)] = float(row["minutes_per_day"])
    names = ["", *(one.user_id for one in diaries.people)]
    for start, by_month in by_start.items():
        for (one, before), (other, after) in combinations(by_month.items(), 2):
            then, now = (_fastest(diaries.arrived(month), start) for month in (one, other))
            parts = np.array([[0.0, *(_pace(who) * ((who in now) - (who in then)) for who in diaries.people)]])
            slack = 0.05 * (len(then) + len(now))
            assert abs(after * len(now) - before * len(then) - parts.sum()) <= slack + 1e-6, start
            tally.judge(parts, np.array([slack]), names, [f"{start} months {one} and {other}"])
    return tally


def _pace(one: Achiever) -> float:
    return float(one.figures[1, -1]) / _days(one)


def _days(one: Achiever) -> float:
    return (one.final_at - BORN).total_seconds() / 86_400


def _fastest(people: list[Achiever], start: str) -> list[Achiever]:
    inside = [one for one in people if one.start == Decimal(start) and one.band >= Decimal("7.0")]

    def speed(one: Achiever) -> tuple[float, str]:
        return -float(one.band - one.start) / _days(one), one.user_id

    return sorted(inside, key=speed)[: -(-len(inside) // 4)]
