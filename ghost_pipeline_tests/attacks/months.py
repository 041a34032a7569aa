"""Attacks on the monthly figures: one month against another (A2), and nested populations of one month (A6)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from ghost_pipeline_tests.attacks.diaries import BORN, METRICS, THRESHOLDS, Achiever, Diaries
from ghost_pipeline_tests.attacks.isolation import FEW, Tally
from ghost_pipeline_tests.running import run

MEANS, SHARES, IMPROVERS, NESTED, ALL_STARTS = (
    "A2 means, month by month",
    "A2 streak shares, month by month",
    "A2 fastest improvers, month by month",
    "A6 nested populations of a month",
    "A6 all starts minus the published ones",
)
HALF = 0.005
STEP = 5
Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What a publication shows of a month."""

    month: int
    dictionary: dict[str, dict[str, dict[str, dict[str, float]]]]
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
        arguments = ["materialize", "--as-of", f"{month.as_of:%Y-%m-%d}T{'02:00Z'}"]
        done = run(arguments, data, source, **(variables or {}))
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


def _means(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    cells: dict[tuple[str, str], dict[int, dict[_Sample, dict[str, float]]]] = {}
    for shown in published:
        for row in shown.benchmarks:
            if row["population"] == "interval":
                band, start, day = _score(row["target_band"]), _score(row["starting_skill"]), int(row["day_number"])
                means = shown.dictionary[f"band_{band}_achievers"][f"starting_skill_{start}"][f"day_{day}"]
                sample = _Sample(_of_month(diaries, row, shown), int(row["sample_size"]))
                cells.setdefault((band, start), {}).setdefault(day, {})[sample] = means
    for (band, start), days in cells.items():
        people = [one for one in diaries.people if one.band == Decimal(band) and one.start == Decimal(start)]
        for day, by_sample in days.items():
            for one, other in combinations(by_sample.items(), 2):
                _subtract(tally, people, day, one, other)
    return tally


def _subtract(
    tally: Tally,
    people: list[Achiever],
    day: int,
    one: tuple[_Sample, dict[str, float]],
    other: tuple[_Sample, dict[str, float]],
) -> None:
    (then, before), (now, after) = one, other
    entered = [(each.arrives <= now.month) - (each.arrives <= then.month) for each in people]
    parts = np.stack([each.figures[:, day - 1] for each in people]) * np.array(entered)[:, None]
    slack = (then.size + now.size) * HALF
    keys = [*METRICS[:-1], "streak_avg"]
    # What was shown has to be what the world adds up to: otherwise the attack does not understand the months.
    assert now.size - then.size == sum(entered)
    for place, key in enumerate(keys):
        seen = after[key] * now.size - before[key] * then.size
        assert abs(seen - parts[:, place].sum()) <= slack + 1e-6, (day, key)
    # The first place is the reader's, who is no achiever.
    sums = np.concatenate([np.zeros((len(keys), 1), dtype=np.int64), parts.T], axis=1)
    names, what = (
        ["", *(each.user_id for each in people)],
        [f"months {then.month}, {now.month}, day {day} {key}" for key in keys],
    )
    tally.judge(sums, np.full(len(keys), slack), names, what)


def _score(value: object) -> str:
    return f"{Decimal(str(value)):.1f}"


# --- shares ---


@dataclass(frozen=True)
class _Share:
    """Streak shares of a population, as shown."""

    sizes: tuple[int, ...]
    """The sizes that it can have."""
    percentages: tuple[int, ...]
    """By threshold."""
    people: frozenset[str]


def _share_cells(diaries: Diaries, shown: Published) -> dict[tuple[str, str | None], _Share]:
    cells: dict[tuple[str, str | None], list[Row]] = {}
    for row in shown.shares:
        start = None if row["starting_skill"] is None else _score(row["starting_skill"])
        cells.setdefault((_score(row["target_band"]), start), []).append(row)
    found = {}
    for (band, start), rows in cells.items():
        by_threshold = {int(row["streak_threshold"]): row for row in rows}
        months_of = {_of_month(diaries, row, shown) for row in rows}
        if set(by_threshold) != set(THRESHOLDS) or len(months_of) > 1:
            continue
        members = [one for one in diaries.arrived(months_of.pop()) if _within(one, band, start)]
        told = {int(row["sample_size"]) for row in rows}.pop()
        # A reader knows the rules, and sees soon whether all sizes are multiples of five.
        in_steps = all(int(row["sample_size"]) % STEP == 0 for row in shown.shares)
        sizes = tuple(range(told, told + STEP)) if in_steps else (told,)
        assert len(members) in sizes, (band, start)
        percentages = tuple(int(by_threshold[days]["percentage"]) for days in THRESHOLDS)
        found[band, start] = _Share(sizes, percentages, frozenset(one.user_id for one in members))
    return found


def _within(one: Achiever, band: str, start: str | None) -> bool:
    return one.band >= Decimal(band) and (start is None or one.start == Decimal(start))


def _shares(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    by_month = [_share_cells(diaries, shown) for shown in published]
    for one, other in combinations(by_month, 2):
        for cell in one.keys() & other.keys():
            _between(tally, other[cell], one[cell], f"{cell}")
    return tally


def _nested(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    for shown in published:
        cells = _share_cells(diaries, shown)
        for (band, start), (higher, same) in product(cells, cells):
            if start == same and Decimal(band) < Decimal(higher):
                _between(tally, cells[band, start], cells[higher, same], f"{start} {band} and {higher}")
    return tally


def _between(tally: Tally, larger: _Share, smaller: _Share, what: str) -> None:
    """Work out what the people between two populations, one inside the other, have reached."""
    between = larger.people - smaller.people
    if not between or smaller.people - larger.people:
        return
    tally.tried += 1
    solutions = {
        (more, reached)
        for size in larger.sizes
        for inside in smaller.sizes
        if (more := size - inside) >= 0
        for reached in _profiles(_reached(larger, size), _reached(smaller, inside), more)
    }
    if not solutions or any(more not in range(1, FEW + 1) for more, _ in solutions):
        return
    known = [len({reached[place] for _, reached in solutions}) == 1 for place in range(len(THRESHOLDS))]
    if any(known):
        tally.near += 1
        tally.exact += all(known)
        tally.people |= between
        tally.examples.append(f"{what}: {sorted(solutions)[:2]}")


def _reached(share: _Share, size: int) -> list[range]:
    """How many can have reached each threshold."""
    found = []
    for percentage in share.percentages:
        counts = [count for count in range(size + 1) if (200 * count + size) // (2 * size) == percentage]
        found.append(range(counts[0], counts[-1] + 1) if counts else range(0))
    return found


def _profiles(larger: list[range], smaller: list[range], more: int) -> Iterator[tuple[int, ...]]:
    """How many of the people between can have reached each threshold: the longer, the fewer."""
    by_threshold = [
        [many for many in range(more + 1) if any(count - many in inside for count in outside)]
        for outside, inside in zip(larger, smaller, strict=True)
    ]
    for profile in product(*by_threshold):
        if all(one >= other for one, other in pairwise(profile)):
            yield profile


def _all_starts(diaries: Diaries, published: Sequence[Published]) -> Tally:
    tally = Tally()
    for shown in published:
        cells = _share_cells(diaries, shown)
        for band in {band for band, start in cells if start is None}:
            parts = [one for (of, start), one in cells.items() if of == band and start is not None]
            whole = cells[band, None]
            between = whole.people - frozenset().union(*(one.people for one in parts))
            if not between or not parts:
                continue
            tally.tried += 1
            found = set()
            for sizes in product(whole.sizes, *(one.sizes for one in parts)):
                more = sizes[0] - sum(sizes[1:])
                if more >= 0:
                    # Intervals of what all parts together can have reached are wide enough to add up.
                    inside = [
                        range(sum(one.start for one in each), sum(one.stop - 1 for one in each) + 1)
                        for each in zip(
                            *(_reached(one, size) for one, size in zip(parts, sizes[1:], strict=True)), strict=True
                        )
                    ]
                    found |= {(more, one) for one in _profiles(_reached(whole, sizes[0]), inside, min(more, FEW + 1))}
            if found and all(0 < more <= FEW for more, _ in found):
                known = [len({one[place] for _, one in found}) == 1 for place in range(len(THRESHOLDS))]
                if any(known):
                    tally.near += 1
                    tally.exact += all(known)
                    tally.people |= between
    return tally


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
