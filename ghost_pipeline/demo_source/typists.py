"""The typists, their keyboards and their practice sessions."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import Flags, Floats, Ints, counting, filled, floor, numbered
from ghost_pipeline.demo_source.cast import CURRENT
from ghost_pipeline.demo_source.clock import AHEAD, DAY, HOUR, INSTANT, MINUTE, PAST_DAYS, ZONE_SHARES, ZONES, Clock
from ghost_pipeline.demo_source.dirt import UNKNOWN_KEYBOARD
from ghost_pipeline.demo_source.draws import Draws
from ghost_pipeline.demo_source.learners import Learners

_DEMO_TYPIST = 6


@dataclass(frozen=True)
class Typists:
    """The typists and their keyboards."""

    user: pl.Series
    zone: Ints
    learner: Flags
    created_at: Ints
    skill: Floats
    """Time per key relative to the target."""
    learning: Floats
    """Share of the first session's time that practice takes away in the end."""
    carelessness: Floats
    """Share of wrong keys in the first session."""
    keyboards: Ints
    """1 or 2."""
    targets: Ints
    """[typist, keyboard]: ms per key."""

    def keyboard_id(self, typist: Ints, keyboard: Ints) -> pl.Series:
        """Return the ids of keyboards, given the rows of their typists and their numbers, 0 or 1."""
        prefix = pl.DataFrame({"typist": numbered("keyboard", typist + 1, 4), "keyboard": keyboard + 1})
        return prefix.select(pl.format("{}-{}", "typist", "keyboard")).to_series()


@dataclass(frozen=True)
class Sessions:
    """Practice sessions in order of their start."""

    typist: Ints
    keyboard: Ints
    start: Ints
    end: Ints
    nth: Ints
    """Sessions that the typist had before."""
    stray: Flags
    """On a keyboard that the source does not have."""

    @property
    def ids(self) -> pl.Series:
        """The session ids."""
        return numbered("session", np.arange(1, len(self.typist) + 1), 6)


def draw_typists(draws: Draws, clock: Clock, world: Learners, size: int) -> Typists:
    """Draw the typists and their keyboards; every tenth is one of the learners."""
    zone = draws.pick(ZONE_SHARES, size)
    created = clock.as_of - floor(draws.between(32, PAST_DAYS, size) * DAY)
    user = numbered("typist", np.arange(1, size + 1), 4)
    tenth = np.arange(9, size, 10)
    eligible = np.flatnonzero((world.role == CURRENT) & (world.created_at < clock.as_of - 34 * DAY))
    chosen = eligible[draws.order(len(eligible))[: len(tenth)]]
    tenth = tenth[: len(chosen)]
    zone[tenth], created[tenth] = world.zone[chosen], world.created_at[chosen]
    learner = np.zeros(size, dtype=np.bool_)
    learner[tenth] = True
    keyboards = 1 + draws.chance(0.35, size)
    keyboards[_DEMO_TYPIST] = 1
    skill = 0.97 * draws.spread(0.2, size)
    skill[_DEMO_TYPIST] = 1.0
    targets = 180 + draws.below(171, 2 * size).reshape(size, 2)
    return Typists(
        user=user.scatter(tenth, world.ids.gather(chosen)),
        zone=zone,
        learner=learner,
        created_at=created,
        skill=skill,
        learning=draws.between(0.0, 0.3, size),
        carelessness=draws.between(0.035, 0.065, size),
        keyboards=keyboards,
        targets=targets,
    )


def typist_rows(people: Typists) -> pl.DataFrame:
    """Return the rows of `users` for typists who are not learners; they have no scores and no cohort."""
    zones = pl.Series([None, *ZONES[1:]], dtype=pl.String).gather(people.zone)
    rows = pl.DataFrame(
        {
            "user_id": people.user,
            "updated_at": pl.Series(people.created_at).cast(INSTANT),
            "timezone": zones,
            "cohort_excluded": np.zeros(len(people.zone), dtype=np.bool_),
            "created_at": pl.Series(people.created_at).cast(INSTANT),
        },
    )
    return rows.filter(~pl.Series(people.learner))


def keyboard_rows(people: Typists, clock: Clock) -> pl.DataFrame:
    """Return the rows of `keyboards`, one of them unusable."""
    typist = np.repeat(np.arange(len(people.keyboards)), people.keyboards)
    keyboard = counting(people.keyboards)
    known = people.created_at[typist]
    rows = pl.DataFrame(
        {
            "keyboard_id": people.keyboard_id(typist, keyboard),
            "updated_at": pl.Series(np.minimum(known + (1 + keyboard) * HOUR, clock.as_of)).cast(INSTANT),
            "user_id": people.user.gather(typist),
            "keyboard_name": pl.Series(["laptop", "desk keyboard"]).gather(keyboard),
            "target_ms_per_keystroke": people.targets[typist, keyboard].astype(np.float64),
        },
    )
    unusable = rows[:1].with_columns(
        keyboard_id=pl.lit("keyboard-0001-9"),
        keyboard_name=pl.lit("typo in the target"),
        target_ms_per_keystroke=pl.lit(20.0),
    )
    return pl.concat([rows, unusable]).sort("keyboard_id")


def draw_sessions(draws: Draws, clock: Clock, people: Typists) -> Sessions:
    """Draw sessions in the evenings, in the hour before `as_of` and after it, at least 15 minutes apart."""
    size = len(people.zone)
    count = 5 + draws.below(11, size)
    count[_DEMO_TYPIST] = 12
    typist = np.repeat(np.arange(size), count)
    total = len(typist)
    # Quarters of an hour between sessions add up to less than four hours, which the first days leave free.
    day = clock.today - 28 + draws.below(27, total)
    minute = np.clip(1120.0 + 120.0 * draws.normal(total), 400.0, 1180.0) + 30.0 * draws.uniform(total)
    start = clock.instant(day * DAY + floor(minute * MINUTE), people.zone[typist])
    start = start[np.lexsort((start, typist))] + counting(count) * 15 * MINUTE
    newest = np.cumsum(count) - 1
    recent = draws.chance(0.08, size)
    recent[_DEMO_TYPIST] = True
    before = clock.as_of - 5 * MINUTE - draws.below(50 * MINUTE, size)
    start[newest[recent]] = before[recent]
    coming = np.flatnonzero(draws.chance(0.15, size))
    after = clock.as_of + 5 * MINUTE + draws.below(AHEAD - 30 * MINUTE, len(coming))
    later, evenings = _later_sessions(draws, clock, people)
    typist, start = np.concatenate([typist, coming, later]), np.concatenate([start, after, evenings])
    order = np.lexsort((typist, start))
    typist, start = typist[order], start[order]
    by_typist = np.argsort(typist, kind="stable")
    nth = filled(0, len(typist))
    nth[by_typist] = counting(np.bincount(typist, minlength=size))
    second = (people.keyboards[typist] > 1) & draws.chance(0.35, len(typist))
    stray = np.zeros(len(typist), dtype=np.bool_)
    stray[np.flatnonzero((start < clock.as_of) & (typist != _DEMO_TYPIST))[-1]] = True
    return Sessions(typist=typist, keyboard=second.astype(np.int64), start=start, end=start, nth=nth, stray=stray)


def _later_sessions(draws: Draws, clock: Clock, people: Typists) -> tuple[Ints, Ints]:
    """Draw the typists and starts of sessions from yesterday on, as often as before; none for six hours ahead."""
    days = clock.ahead // DAY
    if not days:
        return filled(0, 0), filled(0, 0)
    size = len(people.zone)
    count = floor((days + 2) * draws.between(0.18, 0.54, size) + draws.uniform(size))
    typist = np.repeat(np.arange(size), count)
    total = len(typist)
    day = clock.today - 1 + draws.below(days + 2, total)
    minute = np.clip(1120.0 + 120.0 * draws.normal(total), 400.0, 1180.0) + 30.0 * draws.uniform(total)
    start = clock.instant(day * DAY + floor(minute * MINUTE), people.zone[typist])
    start = start[np.lexsort((start, typist))] + counting(count[count > 0]) * 15 * MINUTE
    # The hours around `as_of` have their sessions already.
    kept = (start < clock.as_of - HOUR) | ((start >= clock.as_of + AHEAD) & (start < clock.end - 30 * MINUTE))
    return typist[kept], start[kept]


def session_rows(people: Typists, sessions: Sessions) -> pl.DataFrame:
    """Return the rows of `practice_sessions`."""
    keyboards = people.keyboard_id(sessions.typist, sessions.keyboard)
    return pl.DataFrame(
        {
            "session_id": sessions.ids,
            "user_id": people.user.gather(sessions.typist),
            "keyboard_id": keyboards.set(pl.Series(sessions.stray), UNKNOWN_KEYBOARD),
            "start_time": pl.Series(sessions.start).cast(INSTANT),
            "end_time": pl.Series(sessions.end).cast(INSTANT),
        },
    )
