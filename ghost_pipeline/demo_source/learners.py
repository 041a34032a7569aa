"""The learners: their scores, dates and habits, and the rows of `users` that say so."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import NONE, Flags, Floats, Ints, filled, floor, numbered
from ghost_pipeline.demo_source.cast import (
    ACHIEVER,
    CURRENT,
    DEMO,
    FINISHED,
    HEAVY,
    LAPSED,
    LIGHT,
    UNLISTED_COHORT,
    Cast,
    cast_roles,
    group_numbers,
    scaled,
)
from ghost_pipeline.demo_source.clock import DAY, HOUR, INSTANT, KOLKATA, PAST_DAYS, ZONE_SHARES, ZONES, Clock
from ghost_pipeline.demo_source.cohorts import closed_cohorts, cohort_rows
from ghost_pipeline.demo_source.draws import Draws, exp, normal

_EXAM_AGE = 35
"""Days of the journey after which some current learners have taken their test."""

_MISSPELT_ZONE = "Asia/Calcuta"


@dataclass(frozen=True)
class Learners:
    """The learners; each array has one entry for each of them."""

    role: Ints
    cohort: Ints
    diagnostic: Ints
    """Tenths of a band; -1: none."""
    final: Ints
    final_at: Ints
    created_at: Ints
    updated_at: Ints
    zone: Ints
    misspelt_zone: Flags
    target: Ints
    excluded: Flags
    start: Ints
    """Local day of `created_at`."""
    end: Ints
    """First local day without practice."""
    tasks: Floats
    """Tasks on a day of practice."""
    stay: Floats
    """Probability to practise on the day after a day of practice."""
    resume: Floats
    """The same after a day off."""
    cohorts: pl.DataFrame

    @property
    def ids(self) -> pl.Series:
        """The user ids."""
        return numbered("learner", np.arange(1, len(self.role) + 1), 5)


def draw_learners(draws: Draws, clock: Clock, size: int) -> Learners:
    """Draw the learners."""
    cast, cohorts = cast_roles(draws, size)
    role = cast.role
    current = cast.cohort_age > 0
    zone = draws.pick(ZONE_SHARES, size)
    zone[role == DEMO] = KOLKATA
    created = _created_at(draws, clock, cast)
    start = clock.local_day(created, zone)
    free = 42 + draws.below(16, size) + draws.below(16, size)
    skill = np.where(cast.skill == NONE, free, cast.skill + draws.below(5, size))
    skill[role == DEMO] = 57
    end, final = _ends(draws, clock, cast, start, skill)
    finished = final != NONE
    final_at = clock.instant(end * DAY + 9 * HOUR + draws.below(8 * HOUR, size), zone)
    updated = created + draws.below(36 * HOUR, size)
    updated = np.where(finished, final_at + draws.below(20 * HOUR, size), updated)
    tasks, stay, resume = _habits(draws, cast, skill, final)
    kept = finished & ~draws.chance(0.12, size)
    members = np.flatnonzero((role == CURRENT) & (cast.cohort > 0) & (cast.cohort != UNLISTED_COHORT))
    unscored = (role != ACHIEVER) & (role != DEMO) & draws.chance(0.05, size)
    diagnostic = np.where(unscored, NONE, skill)
    misspelt = np.zeros(size, dtype=np.bool_)
    misspelt[members[0]], zone[members[0]] = True, 0
    excluded = np.zeros(size, dtype=np.bool_)
    excluded[members[draws.order(len(members))[: scaled(40, size)]]] = True
    # The score of 9.5 is one that its whole row is rejected for; nothing else refers to this learner.
    unusable = np.flatnonzero(role == LAPSED)[0]
    diagnostic[unusable], end[unusable] = 95, start[unusable]
    aims = np.array([65, 70, 75, 80])[draws.pick((0.2, 0.4, 0.3, 0.1), size)]
    target = np.where(draws.chance(np.where(current, 0.5, 0.35), size), aims, NONE)
    target[role == DEMO] = 75
    closed, cohort = closed_cohorts(cast.cohort, ~current, skill, created, len(cohorts))
    return Learners(
        role=role,
        cohort=cohort,
        diagnostic=diagnostic,
        final=final,
        final_at=np.where(kept, final_at, NONE),
        created_at=created,
        updated_at=np.minimum(updated, clock.end - 1),
        zone=zone,
        misspelt_zone=misspelt,
        target=target,
        excluded=excluded,
        start=start,
        end=end,
        tasks=tasks,
        stay=stay,
        resume=resume,
        cohorts=pl.concat([cohort_rows(draws, clock, cohorts), closed]),
    )


def _created_at(draws: Draws, clock: Clock, cast: Cast) -> Ints:
    """Sign-ups around the clock: current learners soon after their cohort was made, others before."""
    size = len(cast.role)
    early = draws.uniform(size)
    age = cast.cohort_age * (1.0 - 0.55 * early * early)
    newcomer = (cast.role == CURRENT) & draws.chance(0.015, size)
    age = np.where(newcomer, draws.between(-0.2, 1.5, size), age)
    age = np.where(cast.role == DEMO, 20.2, np.where(cast.role == HEAVY, 61.0, age))
    since = clock.as_of - floor(age * DAY)
    first = (clock.today - PAST_DAYS + 1) * DAY
    share = draws.uniform(size)
    achiever = first + floor(share * ((clock.month_start - 92) * DAY - first))
    late = 1.0 - (1.0 - share) * (1.0 - share)
    other = first + floor(late * ((clock.today - 46) * DAY - first))
    finished = first + floor(share * ((clock.month_start - 62) * DAY - first))
    past = np.where(cast.role == ACHIEVER, achiever, np.where(cast.role == FINISHED, finished, other))
    return np.where(cast.cohort_age > 0, since, past)


def _ends(draws: Draws, clock: Clock, cast: Cast, start: Ints, skill: Ints) -> tuple[Ints, Ints]:
    """When practice ends, and the final score in tenths."""
    size = len(cast.role)
    share = draws.evenly(group_numbers(cast), size)
    late = 1.0 - (1.0 - share) * (1.0 - share)
    # No member of a closed cohort has practised in the last 14 days.
    newest = clock.today - 20
    exam = start + 45 + floor(late * (min(clock.month_start - 2, newest) - start - 45))
    lapse = np.minimum(start + 1 + floor(70.0 * share * share), newest)
    never = filled(clock.first_day + clock.days, size)
    age = clock.today - start
    gone = (cast.role == CURRENT) & draws.chance(0.15, size)
    end = np.where(gone, start + 1 + floor(share * np.maximum(age, 1)), never)
    tested = (cast.role == CURRENT) & ~gone & (age > _EXAM_AGE) & draws.chance(0.25, size)
    end = np.where(tested, start + 28 + floor(share * (age - 29)), end)
    past = cast.cohort_age == 0
    end = np.where(past, np.where(cast.role == LAPSED, lapse, exam), end)
    step = 5 * draws.below(3, size)
    floor_half = skill // 5 * 5
    below_7 = np.minimum(floor_half + step, 65)
    reached = np.minimum(floor_half + 5 + step, 75)
    between = np.where(draws.chance(0.08, size), 1 + draws.below(4, size), 0)
    final = np.where(cast.final != NONE, cast.final + between, NONE)
    final = np.where((cast.role == FINISHED) & (cast.final == NONE), below_7, final)
    return end, np.where(tested, reached, final)


def _habits(draws: Draws, cast: Cast, skill: Ints, final: Ints) -> tuple[Floats, Floats, Floats]:
    """How much, and how regularly: more for a higher start, and more for a higher band."""
    size = len(cast.role)
    role = cast.role
    groups = group_numbers(cast)
    aim = np.where(final == NONE, 66, final)
    drive = (1.0 + 0.034 * (aim - 70)) * (1.0 + 0.008 * (np.minimum(skill, 75) - 60))
    drive = np.where(role == LAPSED, 0.6 * drive, drive) * cast.velocity
    tasks = 2.65 * drive * exp(0.45 * normal(draws.evenly(groups, size)))
    regular = 0.5 + 0.2 * (drive - 1.0) + 0.26 * normal(draws.evenly(groups, size))
    regular = np.clip(regular, 0.0, 1.0)
    stay, resume = 0.48 + 0.48 * regular, 0.24 + 0.3 * regular
    heavy = role == HEAVY
    tasks = np.where(heavy, 24.0, np.where(role == LIGHT, 1.0, np.where(role == DEMO, 1.3, tasks)))
    return tasks, np.where(heavy, 0.99, stay), np.where(heavy, 0.97, resume)


def _or_null(values: Ints) -> pl.Series:
    return pl.Series(values).replace(NONE, None)


def learner_rows(world: Learners) -> pl.DataFrame:
    """Return the rows of `users` for the learners."""
    zones = pl.Series([None, *ZONES[1:]], dtype=pl.String).gather(world.zone)
    return pl.DataFrame(
        {
            "user_id": world.ids,
            "updated_at": pl.Series(world.updated_at).cast(INSTANT),
            "cohort_id": numbered("cohort", world.cohort, 3).set(pl.Series(world.cohort == NONE), None),
            "diagnostic_score": _or_null(world.diagnostic) / 10,
            "final_band_score": _or_null(world.final) / 10,
            "final_band_at": _or_null(world.final_at).cast(INSTANT),
            "target_band": _or_null(world.target) / 10,
            "timezone": zones.set(pl.Series(world.misspelt_zone), _MISSPELT_ZONE),
            "cohort_excluded": world.excluded,
            "created_at": pl.Series(world.created_at).cast(INSTANT),
        },
    )
