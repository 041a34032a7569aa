"""The roles of the learners: who has finished, lapsed or is still learning, and in which cohort."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import NONE, Floats, Ints, filled
from ghost_pipeline.demo_source.draws import Draws
from ghost_pipeline.demo_source.landmarks import ACHIEVERS, DEMO_LEARNER, FULL_SIZE

_SMALL_COHORTS = (3, 4, 6, 8, 9)
_DOMINATED_MEMBERS = 14
UNLISTED_COHORT, _UNLISTED_MEMBERS = 999, 12
_DEMO_COHORT, _DEMO_COHORT_MEMBERS, _DEMO_COHORT_SKILL = 1, 34, 55
ACHIEVER, FINISHED, LAPSED, CURRENT, LIGHT, HEAVY, DEMO = range(7)


@dataclass(frozen=True)
class Cast:
    """The role of each learner, and what follows from it; one entry for each learner."""

    role: Ints
    cohort: Ints
    skill: Ints
    """Lower end of the starting skill, in tenths; -1: free."""
    final: Ints
    velocity: Floats
    cohort_age: Floats
    """Days since the cohort was made; 0: in none of the current ones."""


def scaled(count: int, learners: int) -> int:
    """Scale a number of people from `FULL_SIZE` learners to another size; at least 1."""
    return max(1, count * learners // FULL_SIZE)


def cast_roles(draws: Draws, learners: int) -> tuple[Cast, pl.DataFrame]:
    """Give each learner a role, and make the current cohorts: number, skill, velocity, track, age."""
    healthy = max(3, 60 * learners // FULL_SIZE)
    sizes = 15 + draws.below(26, healthy)
    sizes[_DEMO_COHORT - 1] = _DEMO_COHORT_MEMBERS
    sizes = np.concatenate([sizes, np.array([*_SMALL_COHORTS, _DOMINATED_MEMBERS])])
    count = len(sizes)
    skill = np.array([50, 55, 60, 65, 70])[draws.pick((0.16, 0.26, 0.28, 0.22, 0.08), count)]
    velocity = draws.pick((0.3, 0.45, 0.25), count)
    age = draws.between(9, 75, count)
    skill[_DEMO_COHORT - 1], velocity[_DEMO_COHORT - 1], age[_DEMO_COHORT - 1] = _DEMO_COHORT_SKILL, 1, 40.0
    age[-1] = 65.0
    cohorts = pl.DataFrame(
        {
            "number": np.arange(1, count + 1),
            "skill": skill,
            "velocity": velocity,
            "track": draws.pick((0.7, 0.3), count),
            "age": age,
        },
    )
    cells = [scaled(people, learners) for people in ACHIEVERS.values()]
    below_7, outside, top, loners = (scaled(people, learners) for people in (550, 120, 30, 60))
    member = np.repeat(np.arange(count), sizes)
    member_role = np.full(len(member), CURRENT)
    member_role[0] = DEMO
    member_role[-_DOMINATED_MEMBERS:] = LIGHT
    member_role[-1] = HEAVY
    factors = np.array([0.75, 1.0, 1.35])
    blocks = [
        Cast(
            member_role,
            member + 1,
            skill[member],
            filled(NONE, len(member)),
            factors[velocity[member]],
            age[member],
        ),
        _block(CURRENT, _UNLISTED_MEMBERS, cohort=UNLISTED_COHORT, skill=60, age=45.0),
        _block(CURRENT, loners, age=60.0),
        *(
            _block(ACHIEVER, people, skill=round(start * 10), final=round(band * 10))
            for (band, start), people in zip(ACHIEVERS, cells, strict=True)
        ),
        _block(FINISHED, below_7),
        _block(FINISHED, outside // 2, skill=45, final=70),
        _block(FINISHED, outside - outside // 2, skill=70, final=80),
        _block(FINISHED, top, skill=65, final=85),
    ]
    used = sum(len(block.role) for block in blocks)
    blocks.append(_block(LAPSED, learners - used))
    order = draws.order(learners)
    demo = int(np.flatnonzero(order == 0)[0])
    wanted = int(DEMO_LEARNER.removeprefix("learner-")) - 1
    order[[demo, wanted]] = order[[wanted, demo]]
    joined = [np.concatenate([getattr(block, name) for block in blocks])[order] for name in Cast.__dataclass_fields__]
    return Cast(*joined), cohorts


def _block(role: int, size: int, *, cohort: int = NONE, skill: int = NONE, final: int = NONE, age: float = 0.0) -> Cast:
    return Cast(
        role=filled(role, size),
        cohort=filled(cohort, size),
        skill=filled(skill, size),
        final=filled(final, size),
        velocity=np.ones(size),
        cohort_age=np.full(size, age),
    )


def group_numbers(cast: Cast) -> Ints:
    """Return the number of each learner's cohort, or of their cell of `ACHIEVERS`."""
    codes = (cast.cohort * 100 + cast.skill) * 100 + cast.final
    groups: Ints = np.unique(codes, return_inverse=True)[1]
    return groups
