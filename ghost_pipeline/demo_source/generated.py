"""The demo source: generated learners and typists, realistic and the same on every machine.

Nobody here is real; ids say what somebody is. The figures are those of the defaults at `DEMO_AS_OF`,
counted in the files; another number of learners scales the first two groups.

Learners: 6,000, who signed up in the six months before `as_of`, five of them in the hours after it.

- 60 current cohorts of 15 to 40 members, five small ones (3 to 9) and one of 14 in which a single
  member did 97 % of the tasks; 1,405 members are active, in 62 cohorts 10 or more, in 36 of them 20 or
  more. One more cohort of 12 is missing in `cohorts`. 60 current learners have no cohort, 40 are
  excluded from theirs, 287 members of current cohorts are silent or excluded.
- 109 closed cohorts hold everybody before them: nobody there has practised for two weeks.
- 2,401 have a final score, 1,758 of at least 7.0; 6 % of the scores lie between the halves, 13 % have no
  `final_band_at`. `ACHIEVERS` counts those with a full journey in each cell of the benchmarks: every
  cell has 60 or more, but for one that is rightly absent, 8.0 from 5.0 with 20. Cells hold a few more
  in the first days, where journeys that began later count as well.
- 219 have no diagnostic score, half of the active members a target band, a third no timezone, the rest
  one of 13.

Practice: 507,481 rows up to six hours after `as_of`, 801 of them after it and 112 in the hour before.

- Who starts higher or reaches a higher band does more: at day 28 the best quarter of those who came
  from 6.0 had done 62 tasks for 7.0, 76 for 7.5 and 91 for 8.0. Tasks per day are log-normal.
- People practise in bursts with days off, pauses and an end; less on Fridays and Saturdays; in the
  evening (65 %), at noon or before work of their own zone. 93 % of those who reached 7.0 or more once
  had a streak of five days, 24 % one of fourteen.
- Speaking 20 %, listening and reading 19 % each, writing 16 %, vocabulary 13 %, grammar 11 %, mock tests
  3 %; 3 to 60 minutes, none given for 2 %.

Typing: 300 typists, 30 of them learners, with 407 keyboards whose targets are 180 to 350 ms; 2,981
sessions of three to five sentences, 28 in the hour before `as_of` and 45 after it; 743,628 keystrokes.

- Every typist has a pace around the target, keys and pairs of keys that are harder than others,
  log-normal noise, and gets faster with each session.
- 4 % of the keys are wrong ones next to the right one: two thirds are corrected at once, a quarter after
  one to three more keys, the rest never. 54 times somebody goes on past the end of the text.

Dirt (`DIRT`), so that the quarantine has something to show: 12 rows of `user_progress` with an unknown task
type (5), negative minutes (4) or an unknown user (3), all in the hour before `as_of`; one completion that
is delivered twice under its id; one learner, otherwise silent, with a score of 9.5; one timezone that does
not exist; one keyboard, never used, with a target of 20 ms; one session on an unknown keyboard.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.errors import UnknownTimeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DEMO_AS_OF: Final = datetime(2025, 3, 12, 12, tzinfo=UTC)
"""The clock of the demo: the end of its newest hour."""

DEMO_LEARNER: Final = "learner-00042"
"""Day 21 of the journey towards 7.5 from 5.7, in a healthy cohort, practised today, behind."""

DEMO_TYPIST: Final = "typist-0007"
"""Twelve sessions on one keyboard, the last one in the hour before `as_of`."""

DEMO_KEYBOARD: Final = "keyboard-0007-1"
"""The keyboard of `DEMO_TYPIST`."""

FULL_SIZE: Final = 6000
"""Number of learners for which the documented counts hold; other sizes scale them."""

ACHIEVERS: Final[Mapping[tuple[float, float], int]] = {
    (7.0, 5.0): 110,
    (7.0, 5.5): 190,
    (7.0, 6.0): 230,
    (7.0, 6.5): 160,
    (7.5, 5.0): 65,
    (7.5, 5.5): 110,
    (7.5, 6.0): 170,
    (7.5, 6.5): 190,
    (8.0, 5.0): 20,
    (8.0, 5.5): 60,
    (8.0, 6.0): 85,
    (8.0, 6.5): 120,
}
"""(band reached, starting skill) -> learners whose day 90 has ended when the month of `as_of` begins."""

DIRT: Final[Mapping[str, int]] = {
    "unknown task type": 5,
    "negative minutes": 4,
    "progress of an unknown user": 3,
    "repeated progress_id": 1,
    "diagnostic score of 9.5": 1,
    "unknown timezone": 1,
    "target of 20 ms": 1,
    "session on an unknown keyboard": 1,
}
"""Kind of dirt -> number of rows, at every size."""

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_INSTANT = pl.Datetime("us", "UTC")
_SATURDAY = 5
_NONE = -1

_PAST_DAYS = 181
_AHEAD = 6 * _HOUR
_SMALLEST, _LARGEST = (500, 10), (30_000, 5_000)

_EXAM_AGE = 35
"""Days of the journey after which some current learners have taken their test."""
_MOCK_TEST_AGE = 4

_ZONES = (
    "UTC",
    "Asia/Kolkata",
    "Asia/Manila",
    "Asia/Dhaka",
    "Asia/Karachi",
    "Asia/Ho_Chi_Minh",
    "Asia/Tokyo",
    "Africa/Lagos",
    "Africa/Nairobi",
    "Europe/Berlin",
    "Europe/Istanbul",
    "America/Bogota",
    "America/Sao_Paulo",
    "Australia/Sydney",
)
"""The first stands for users without a timezone."""
_KOLKATA = 1
_ZONE_SHARES = (0.33, 0.14, 0.08, 0.06, 0.06, 0.07, 0.04, 0.05, 0.03, 0.04, 0.04, 0.03, 0.02, 0.01)
_UNKNOWN_TASKS = ("pronunciation", "essay_review", "speaking_drill", "warm_up", "listening_v2")
_UNKNOWN_LEARNER = "learner-99999"
_UNKNOWN_KEYBOARD = "keyboard-9999-1"
_MISSPELT_ZONE = "Asia/Calcuta"

_SMALL_COHORTS = (3, 4, 6, 8, 9)
_DOMINATED_MEMBERS = 14
_UNLISTED_COHORT, _UNLISTED_MEMBERS = 999, 12
_DEMO_COHORT, _DEMO_COHORT_MEMBERS, _DEMO_COHORT_SKILL = 1, 34, 55

_TASKS: Mapping[str, tuple[float, float]] = {
    "speaking": (0.21, 11.0),
    "writing": (0.16, 22.0),
    "reading": (0.20, 16.0),
    "listening": (0.20, 14.0),
    "vocabulary": (0.13, 7.0),
    "grammar": (0.10, 8.0),
}
"""task_type -> (share, median minutes)."""
_TASK_TYPES = (*_TASKS, "mock_test")
_MOCK_TEST = len(_TASKS)

_BACKSPACE = "\b"
_PAST_END = "\0"
"""Stands in a session's text for a key that is pressed after its last character."""
_BACKSPACE_CODE = 1

_SENTENCES = (
    "The ferry was late again, so we walked along the harbour.",
    "A good map shows you where to go and where to rest.",
    "She planted two rows of beans behind the old garage.",
    "Fresh bread is the best reason to get up early.",
    "The lift stops at every floor except the one you need.",
    "He wrote the address on the back of a train ticket.",
    "Our neighbour keeps bees and gives away jars of honey.",
    "Quiet streets look longer after a night of heavy snow.",
    "The recipe asks for six eggs, but five will do just fine.",
    "They painted the kitchen yellow to make winter shorter.",
    "A small leak can fill a large bucket before morning.",
    "The museum is free on Mondays and nearly empty at noon.",
    "Please leave the keys with the woman at the front desk.",
    "Most of the work was done before anyone noticed it.",
    "The river bends twice before it reaches the village.",
    "I lost count of the stairs somewhere above the tenth floor.",
    "Every tool in this shed has a hook and a painted outline.",
    "The wind turned at sunset and carried the smoke away.",
    "Zebras were the first animals that the children asked about.",
    "Write the date on the box, or nobody will know its age.",
    "The choir practises on Thursdays in the room above the bank.",
    "You can hear the trains from here when the air is cold.",
    "My bicycle has three gears, and I only ever use two.",
    "The judge read the letter twice and put it in a drawer.",
    "Half of the puzzle pieces turned out to be plain blue sky.",
    "We waited for the rain to stop and then for the bus to come.",
    "A kind word costs little and is remembered for years.",
    "The quickest way to the market is across the wooden bridge.",
    "He mixes his own paint and never gets the same green twice.",
    "The library lends umbrellas as well as books and films.",
    "Someone had left a single red glove on top of the fence.",
    "The baker knows everyone by name and by favourite cake.",
    "Turn left at the chapel and follow the low stone wall.",
    "The experiment failed, which taught them more than success.",
    "Her first job was to sort the post in a very large office.",
    "Ask the driver to wake you when we get to the last stop.",
    "The kettle takes longer to boil when you stand and watch.",
    "Grey clouds moved in from the west just before the match.",
    "The twins share one desk and argue about the good lamp.",
    "Check the tyres, fill the tank and do not forget the map.",
)

_KEY_ROWS = ("qwertyuiop", "asdfghjkl;", "zxcvbnm,./")
_KEY_STAGGER = (0.0, 0.25, 0.75)
_FINGERS = (0, 1, 2, 3, 3, 4, 4, 5, 6, 7)
_LEFT_HAND_FINGERS = 4
_REACH = 2.0
"""Squared distance in keys within which a finger goes astray."""

_DEMO_TYPIST = 6
_MOST_HELD = 3
"""Right keys after a wrong one, before it is noticed."""
_NO_SLIP, _NEVER_CORRECTED = -2, -1


def generate_source(
    folder: Path,
    *,
    as_of: datetime,
    learners: int = FULL_SIZE,
    typists: int = 300,
    seed: int = 7,
) -> None:
    """Write the demo source into `folder`, one Parquet file for each canonical table.

    Every file appears complete or not at all; files of the same names are replaced. The same arguments
    give the same bytes.

    Args:
        folder: made where it does not exist.
        as_of: the instant (aware) around which the events lie.
        learners: users with ghost data, 500 to 30,000.
        typists: users with keyboards, 10 to 5,000; every tenth is one of the learners.
        seed: another seed is another world of the same kind.

    Raises:
        UnknownTimeError: `as_of` names no zone.
        ValueError: a size is out of range.

    """
    if as_of.tzinfo is None:
        raise UnknownTimeError(f"as of {as_of.isoformat()}: names no zone; write it like 2025-03-12T12:00Z")
    for name, size, low, high in zip(("learners", "typists"), (learners, typists), _SMALLEST, _LARGEST, strict=True):
        if not low <= size <= high:
            raise ValueError(f"{name}: {size} is not between {low} and {high}")
    clock = _Clock.around(as_of)
    world = _learners(_Draws(seed, "learners"), clock, learners)
    progress = _user_progress(_Draws(seed, "progress"), clock, world)
    people = _typists(_Draws(seed, "typists"), clock, world, typists)
    sessions = _sessions(_Draws(seed, "sessions"), clock, people)
    sessions, keystrokes = _keystrokes(_Draws(seed, "keystrokes"), people, sessions)
    tables = {
        "users": pl.concat([_learner_rows(world), _typist_rows(people)], how="diagonal").sort("user_id"),
        "cohorts": world.cohorts.sort("cohort_id"),
        "user_progress": progress,
        "keyboards": _keyboard_rows(people, clock),
        "practice_sessions": _session_rows(people, sessions),
        "session_keystrokes": keystrokes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        _write(table, folder / f"{name}.parquet")


def _write(table: pl.DataFrame, path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as file:
            table.rechunk().write_parquet(file, compression="zstd", compression_level=6, row_group_size=131_072)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# --- Chance ---------------------------------------------------------------------------------------------


class _Draws:
    """Random numbers that no machine and no release of numpy changes.

    They start from the raw 64 bits of PCG64, and only operations follow whose results IEEE 754 fixes to
    the last bit: + - * / and the square root. `exp`, `log` and numpy's distributions are not among them.
    """

    def __init__(self, seed: int, stream: str) -> None:
        """Begin the stream of one part, so that the size of another part does not shift it."""
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *stream.encode()]))

    def uniform(self, size: int) -> Floats:
        """Evenly in [0, 1)."""
        raw = np.asarray(self._bits.random_raw(size), dtype=np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def between(self, low: float | Floats, high: float | Floats, size: int) -> Floats:
        """Evenly in [low, high)."""
        return low + (high - low) * self.uniform(size)

    def below(self, limit: int | Ints, size: int) -> Ints:
        """Whole numbers, evenly in 0 to limit - 1."""
        return _floor(self.uniform(size) * limit)

    def normal(self, size: int) -> Floats:
        """Nearly normal (Tukey's lambda of 1/8), mean 0, deviation 1."""
        return _normal(self.uniform(size))

    def spread(self, sigma: float, size: int) -> Floats:
        """Nearly log-normal factors around the median 1."""
        return _exp(sigma * self.normal(size))

    def evenly(self, groups: Ints, size: int) -> Floats:
        """In [0, 1) for each row, spread out evenly among the rows of a group (0, 1, 2 ...).

        A group's quantiles then hardly depend on chance, however small it is.
        """
        members = np.bincount(groups)
        order = np.lexsort((self.uniform(size), groups))
        places = np.empty(size, dtype=np.float64)
        places[order] = (_counting(members) + self.uniform(size)) / np.repeat(members, members)
        return places

    def chance(self, probability: float | Floats, size: int) -> Flags:
        """True with this probability."""
        return self.uniform(size) < probability

    def order(self, size: int) -> Ints:
        """The numbers 0 to size - 1, shuffled."""
        return np.argsort(self.uniform(size), kind="stable")

    def pick(self, shares: Sequence[float], size: int) -> Ints:
        """Positions in `shares`, each as often as its share says."""
        ends: list[float] = []
        for share in shares:
            ends.append(share + (ends[-1] if ends else 0.0))
        return np.searchsorted(np.array(ends[:-1]), self.uniform(size) * ends[-1], side="right")


def _floor(values: Floats) -> Ints:
    return np.floor(values).astype(np.int64)


def _normal(probability: Floats) -> Floats:
    return (_eighth_root(probability) - _eighth_root(1.0 - probability)) / 0.1857


def _eighth_root(values: Floats) -> Floats:
    roots: Floats = np.sqrt(np.sqrt(np.sqrt(values)))
    return roots


def _exp(values: Floats) -> Floats:
    power: Floats = 1.0 + values / 1024.0
    for _ in range(10):
        power = power * power
    return power


def _counting(lengths: Ints) -> Ints:
    """0, 1, 2 ... for each of the lengths, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) - np.repeat(ends - lengths, lengths)


def _sum_within(values: Ints, lengths: Ints) -> Ints:
    """Running sums that begin anew with each group; no group is empty."""
    sums = np.cumsum(values)
    firsts = np.cumsum(lengths) - lengths
    before: Ints = sums[firsts] - values[firsts]
    return sums - np.repeat(before, lengths)


# --- Time -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clock:
    """`as_of` and the calendar around it; instants and days count from 1970 in UTC, in us and days."""

    as_of: int
    month_start: int
    """First day of the month of `as_of`."""
    first_day: int
    days: int
    offsets: Ints
    """[zone, day]: local time minus UTC in us."""

    @classmethod
    def around(cls, as_of: datetime) -> "_Clock":
        utc = as_of.astimezone(UTC)
        instant = (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        today = instant // _DAY
        first_day, days = today - _PAST_DAYS - 2, _PAST_DAYS + 5
        noons = np.arange(first_day, first_day + days, dtype=np.int64) * _DAY + _DAY // 2
        instants = pl.Series(noons).cast(_INSTANT)
        local = [
            instants.dt.convert_time_zone(zone).dt.replace_time_zone(None).cast(pl.Int64).to_numpy() for zone in _ZONES
        ]
        return cls(
            as_of=instant,
            month_start=today - utc.day + 1,
            first_day=first_day,
            days=days,
            offsets=np.stack(local).astype(np.int64) - noons,
        )

    @property
    def today(self) -> int:
        return self.as_of // _DAY

    @property
    def end(self) -> int:
        """The instant before which everything lies."""
        return self.as_of + _AHEAD

    def offset(self, zone: Ints, day: Ints) -> Ints:
        column = np.clip(day - self.first_day, 0, self.days - 1)
        return self.offsets[zone, column]

    def local_day(self, instant: Ints, zone: Ints) -> Ints:
        return (instant + self.offset(zone, instant // _DAY)) // _DAY

    def instant(self, local: Ints, zone: Ints) -> Ints:
        return local - self.offset(zone, local // _DAY)


# --- Learners -------------------------------------------------------------------------------------------

_ACHIEVER, _FINISHED, _LAPSED, _CURRENT, _LIGHT, _HEAVY, _DEMO = range(7)


@dataclass(frozen=True)
class _Learners:
    """The learners, one entry of each array for each."""

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
        return _numbered("learner", np.arange(1, len(self.role) + 1), 5)


def _numbered(prefix: str, numbers: Ints, digits: int) -> pl.Series:
    frame = pl.DataFrame({"number": numbers})
    return frame.select(pl.format(prefix + "-{}", pl.col("number").cast(pl.String).str.zfill(digits))).to_series()


@dataclass(frozen=True)
class _Cast:
    """Who plays what, before anything else is known; one entry for each learner."""

    role: Ints
    cohort: Ints
    skill: Ints
    """Lower end of the starting skill, in tenths; -1: free."""
    final: Ints
    velocity: Floats
    cohort_age: Floats
    """Days since the cohort was made; 0: in none of the current ones."""


def _scaled(count: int, learners: int) -> int:
    return max(1, count * learners // FULL_SIZE)


def _cast(draws: _Draws, learners: int) -> tuple[_Cast, pl.DataFrame]:
    """Share out the roles, and make the current cohorts: number, skill, velocity, track, age."""
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
    cells = [_scaled(people, learners) for people in ACHIEVERS.values()]
    below_7, outside, top, loners = (_scaled(people, learners) for people in (550, 120, 30, 60))
    member = np.repeat(np.arange(count), sizes)
    member_role = np.full(len(member), _CURRENT)
    member_role[0] = _DEMO
    member_role[-_DOMINATED_MEMBERS:] = _LIGHT
    member_role[-1] = _HEAVY
    factors = np.array([0.75, 1.0, 1.35])
    blocks = [
        _Cast(
            member_role,
            member + 1,
            skill[member],
            _filled(_NONE, len(member)),
            factors[velocity[member]],
            age[member],
        ),
        _block(_CURRENT, _UNLISTED_MEMBERS, cohort=_UNLISTED_COHORT, skill=60, age=45.0),
        _block(_CURRENT, loners, age=60.0),
        *(
            _block(_ACHIEVER, people, skill=round(start * 10), final=round(band * 10))
            for (band, start), people in zip(ACHIEVERS, cells, strict=True)
        ),
        _block(_FINISHED, below_7),
        _block(_FINISHED, outside // 2, skill=45, final=70),
        _block(_FINISHED, outside - outside // 2, skill=70, final=80),
        _block(_FINISHED, top, skill=65, final=85),
    ]
    used = sum(len(block.role) for block in blocks)
    blocks.append(_block(_LAPSED, learners - used))
    order = draws.order(learners)
    demo = int(np.flatnonzero(order == 0)[0])
    wanted = int(DEMO_LEARNER.removeprefix("learner-")) - 1
    order[[demo, wanted]] = order[[wanted, demo]]
    joined = [np.concatenate([getattr(block, name) for block in blocks])[order] for name in _Cast.__dataclass_fields__]
    return _Cast(*joined), cohorts


def _filled(value: int, size: int) -> Ints:
    return np.full(size, value, dtype=np.int64)


def _block(
    role: int, size: int, *, cohort: int = _NONE, skill: int = _NONE, final: int = _NONE, age: float = 0.0
) -> _Cast:
    return _Cast(
        role=_filled(role, size),
        cohort=_filled(cohort, size),
        skill=_filled(skill, size),
        final=_filled(final, size),
        velocity=np.ones(size),
        cohort_age=np.full(size, age),
    )


def _learners(draws: _Draws, clock: _Clock, size: int) -> _Learners:
    cast, cohorts = _cast(draws, size)
    role = cast.role
    current = cast.cohort_age > 0
    zone = draws.pick(_ZONE_SHARES, size)
    zone[role == _DEMO] = _KOLKATA
    created = _created_at(draws, clock, cast)
    start = clock.local_day(created, zone)
    free = 42 + draws.below(16, size) + draws.below(16, size)
    skill = np.where(cast.skill == _NONE, free, cast.skill + draws.below(5, size))
    skill[role == _DEMO] = 57
    end, final = _ends(draws, clock, cast, start, skill)
    finished = final != _NONE
    final_at = clock.instant(end * _DAY + 9 * _HOUR + draws.below(8 * _HOUR, size), zone)
    updated = created + draws.below(36 * _HOUR, size)
    updated = np.where(finished, final_at + draws.below(20 * _HOUR, size), updated)
    tasks, stay, resume = _habits(draws, cast, skill, final)
    kept = finished & ~draws.chance(0.12, size)
    members = np.flatnonzero((role == _CURRENT) & (cast.cohort > 0) & (cast.cohort != _UNLISTED_COHORT))
    unscored = (role != _ACHIEVER) & (role != _DEMO) & draws.chance(0.05, size)
    diagnostic = np.where(unscored, _NONE, skill)
    misspelt = np.zeros(size, dtype=np.bool_)
    misspelt[members[0]], zone[members[0]] = True, 0
    excluded = np.zeros(size, dtype=np.bool_)
    excluded[members[draws.order(len(members))[: _scaled(40, size)]]] = True
    # The score of 9.5 is one that its whole row is rejected for; nothing else refers to this learner.
    unusable = np.flatnonzero(role == _LAPSED)[0]
    diagnostic[unusable], end[unusable] = 95, start[unusable]
    aims = np.array([65, 70, 75, 80])[draws.pick((0.2, 0.4, 0.3, 0.1), size)]
    target = np.where(draws.chance(np.where(current, 0.5, 0.35), size), aims, _NONE)
    target[role == _DEMO] = 75
    closed, cohort = _closed_cohorts(cast.cohort, ~current, skill, created, len(cohorts))
    return _Learners(
        role=role,
        cohort=cohort,
        diagnostic=diagnostic,
        final=final,
        final_at=np.where(kept, final_at, _NONE),
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
        cohorts=pl.concat([_cohort_rows(draws, clock, cohorts), closed]),
    )


def _created_at(draws: _Draws, clock: _Clock, cast: _Cast) -> Ints:
    """Sign-ups around the clock: current learners soon after their cohort was made, others before."""
    size = len(cast.role)
    early = draws.uniform(size)
    age = cast.cohort_age * (1.0 - 0.55 * early * early)
    newcomer = (cast.role == _CURRENT) & draws.chance(0.015, size)
    age = np.where(newcomer, draws.between(-0.2, 1.5, size), age)
    age = np.where(cast.role == _DEMO, 20.2, np.where(cast.role == _HEAVY, 61.0, age))
    since = clock.as_of - _floor(age * _DAY)
    first = (clock.today - _PAST_DAYS + 1) * _DAY
    share = draws.uniform(size)
    achiever = first + _floor(share * ((clock.month_start - 92) * _DAY - first))
    late = 1.0 - (1.0 - share) * (1.0 - share)
    other = first + _floor(late * ((clock.today - 46) * _DAY - first))
    finished = first + _floor(share * ((clock.month_start - 62) * _DAY - first))
    past = np.where(cast.role == _ACHIEVER, achiever, np.where(cast.role == _FINISHED, finished, other))
    return np.where(cast.cohort_age > 0, since, past)


def _ends(draws: _Draws, clock: _Clock, cast: _Cast, start: Ints, skill: Ints) -> tuple[Ints, Ints]:
    """When practice ends, and the final score in tenths."""
    size = len(cast.role)
    share = draws.evenly(_groups(cast), size)
    late = 1.0 - (1.0 - share) * (1.0 - share)
    # Nobody in a closed cohort has practised in the last 14 days.
    newest = clock.today - 20
    exam = start + 45 + _floor(late * (min(clock.month_start - 2, newest) - start - 45))
    lapse = np.minimum(start + 1 + _floor(70.0 * share * share), newest)
    never = _filled(clock.first_day + clock.days, size)
    age = clock.today - start
    gone = (cast.role == _CURRENT) & draws.chance(0.15, size)
    end = np.where(gone, start + 1 + _floor(share * np.maximum(age, 1)), never)
    tested = (cast.role == _CURRENT) & ~gone & (age > _EXAM_AGE) & draws.chance(0.25, size)
    end = np.where(tested, start + 28 + _floor(share * (age - 29)), end)
    past = cast.cohort_age == 0
    end = np.where(past, np.where(cast.role == _LAPSED, lapse, exam), end)
    step = 5 * draws.below(3, size)
    floor_half = skill // 5 * 5
    below_7 = np.minimum(floor_half + step, 65)
    reached = np.minimum(floor_half + 5 + step, 75)
    between = np.where(draws.chance(0.08, size), 1 + draws.below(4, size), 0)
    final = np.where(cast.final != _NONE, cast.final + between, _NONE)
    final = np.where((cast.role == _FINISHED) & (cast.final == _NONE), below_7, final)
    return end, np.where(tested, reached, final)


def _groups(cast: _Cast) -> Ints:
    """Number of the cohort, or of the cell of `ACHIEVERS`, to which each learner belongs."""
    codes = (cast.cohort * 100 + cast.skill) * 100 + cast.final
    groups: Ints = np.unique(codes, return_inverse=True)[1]
    return groups


def _habits(draws: _Draws, cast: _Cast, skill: Ints, final: Ints) -> tuple[Floats, Floats, Floats]:
    """How much, and how regularly: more for a higher start, and more for a higher band."""
    size = len(cast.role)
    role = cast.role
    groups = _groups(cast)
    aim = np.where(final == _NONE, 66, final)
    drive = (1.0 + 0.034 * (aim - 70)) * (1.0 + 0.008 * (np.minimum(skill, 75) - 60))
    drive = np.where(role == _LAPSED, 0.6 * drive, drive) * cast.velocity
    tasks = 2.65 * drive * _exp(0.45 * _normal(draws.evenly(groups, size)))
    regular = 0.5 + 0.2 * (drive - 1.0) + 0.26 * _normal(draws.evenly(groups, size))
    regular = np.clip(regular, 0.0, 1.0)
    stay, resume = 0.48 + 0.48 * regular, 0.24 + 0.3 * regular
    heavy = role == _HEAVY
    tasks = np.where(heavy, 24.0, np.where(role == _LIGHT, 1.0, np.where(role == _DEMO, 1.3, tasks)))
    return tasks, np.where(heavy, 0.99, stay), np.where(heavy, 0.97, resume)


def _closed_cohorts(cohort: Ints, past: Flags, skill: Ints, created: Ints, used: int) -> tuple[pl.DataFrame, Ints]:
    """Put learners of the past into cohorts of forty with the same start, in order of signing up."""
    people = (
        pl.DataFrame({"row": np.arange(len(cohort)), "skill": skill // 5 * 5, "created": created})
        .filter(pl.Series(past))
        .sort("skill", "created", "row")
        .with_columns(group=pl.int_range(pl.len()).over("skill") // 40)
        .with_columns(number=pl.struct("skill", "group").rle_id().cast(pl.Int64) + used + 1)
    )
    numbers = cohort.copy()
    numbers[people["row"].to_numpy()] = people["number"].to_numpy()
    closed = people.group_by("number", maintain_order=True).agg(pl.col("skill", "created").first())
    rows = closed.select(
        cohort_id=_numbered("cohort", closed["number"].to_numpy(), 3),
        cohort_key=_cohort_key(pl.col("skill"), pl.lit("medium"), pl.lit("academic")),
        created_at=(pl.col("created") - _HOUR).cast(_INSTANT),
    )
    return rows, numbers


def _cohort_key(skill: pl.Expr, velocity: pl.Expr, track: pl.Expr) -> pl.Expr:
    return pl.format("skill_{}.{}_velocity_{}_track_{}", skill // 10, skill % 10, velocity, track)


def _cohort_rows(draws: _Draws, clock: _Clock, cohorts: pl.DataFrame) -> pl.DataFrame:
    age = cohorts["age"].to_numpy()
    created = clock.as_of - _floor((age + draws.between(0.1, 2.0, len(age))) * _DAY)
    return cohorts.select(
        cohort_id=_numbered("cohort", cohorts["number"].to_numpy(), 3),
        cohort_key=_cohort_key(
            pl.col("skill"),
            pl.col("velocity").replace_strict({0: "slow", 1: "medium", 2: "fast"}),
            pl.col("track").replace_strict({0: "academic", 1: "general"}),
        ),
        created_at=pl.Series(created).cast(_INSTANT),
    )


def _or_null(values: Ints) -> pl.Series:
    return pl.Series(values).replace(_NONE, None)


def _learner_rows(world: _Learners) -> pl.DataFrame:
    zones = pl.Series([None, *_ZONES[1:]], dtype=pl.String).gather(world.zone)
    return pl.DataFrame(
        {
            "user_id": world.ids,
            "updated_at": pl.Series(world.updated_at).cast(_INSTANT),
            "cohort_id": _numbered("cohort", world.cohort, 3).set(pl.Series(world.cohort == _NONE), None),
            "diagnostic_score": _or_null(world.diagnostic) / 10,
            "final_band_score": _or_null(world.final) / 10,
            "final_band_at": _or_null(world.final_at).cast(_INSTANT),
            "target_band": _or_null(world.target) / 10,
            "timezone": zones.set(pl.Series(world.misspelt_zone), _MISSPELT_ZONE),
            "cohort_excluded": world.excluded,
            "created_at": pl.Series(world.created_at).cast(_INSTANT),
        },
    )


# --- Practice -------------------------------------------------------------------------------------------


def _weekday(day: Ints) -> Ints:
    """0 for Monday; day 0, the first of 1970, was a Thursday."""
    return (day + 3) % 7


def _practice_days(draws: _Draws, clock: _Clock, world: _Learners) -> Flags:
    """[learner, day]: bursts, single days off and, now and then, a pause of 3 to 12 days."""
    size = len(world.role)
    calendar = clock.first_day + np.arange(clock.days)
    moods = np.array([1.05, 1.05, 1.03, 1.0, 0.9, 0.85, 0.97])[_weekday(calendar)]
    steady = world.role == _HEAVY
    practised = np.zeros((size, clock.days), dtype=np.bool_)
    yesterday = np.zeros(size, dtype=np.bool_)
    pause = _filled(0, size)
    for column, day in enumerate(calendar):
        mood = np.where(steady, 1.0, moods[column])
        chance = np.where(yesterday, world.stay, world.resume) * mood
        today = draws.chance(chance, size) & (pause == 0)
        today |= (world.start == day) & draws.chance(0.9, size)
        today &= (world.start <= day) & (day < world.end)
        pausing = today & ~steady & draws.chance(1 / 45, size)
        pause = np.where(pausing, 3 + draws.below(10, size), np.maximum(pause - 1, 0))
        practised[:, column] = yesterday = today
    demo = np.flatnonzero(world.role == _DEMO)
    week = clock.today - clock.first_day - 6
    practised[demo, week : week + 7] = np.array([True, False, True, False, True, True, True])
    light = np.flatnonzero(world.role == _LIGHT)
    practised[light] = False
    for earliest, latest in ((1, 8), (9, 16), (17, 24)):
        back = earliest + draws.below(latest - earliest + 1, len(light))
        practised[light, clock.today - clock.first_day - back] = True
    return practised


def _user_progress(draws: _Draws, clock: _Clock, world: _Learners) -> pl.DataFrame:
    who, column = np.nonzero(_practice_days(draws, clock, world))
    day = clock.first_day + column
    size = len(who)
    tasks = _floor(world.tasks[who] * draws.spread(0.45, size) + draws.uniform(size))
    tasks = np.clip(tasks, 1, np.where(world.role[who] == _HEAVY, 40, 16))
    mock = (day - world.start[who] >= _MOCK_TEST_AGE) & draws.chance(0.1, size) & (world.role[who] != _LIGHT)
    events = tasks + mock
    begin = _begin(draws, clock, world, who, day)
    of_day = np.repeat(np.arange(size), events)
    is_mock = mock[of_day] & (_counting(events) == events[of_day] - 1)
    kind, tenths = _tasks_done(draws, world, who[of_day], is_mock)
    count = len(of_day)
    took = tenths * (_MINUTE // 10) + draws.below(4 * _MINUTE, count) + 20 * _SECOND
    completed = begin[of_day] + _sum_within(took, events)
    keep = np.flatnonzero(completed < clock.end)
    user = who[of_day]
    keep = keep[np.lexsort((user[keep], completed[keep]))]
    missing = draws.chance(0.02, count)[keep]
    rows = pl.DataFrame(
        {
            "progress_id": _numbered("progress", np.arange(1, len(keep) + 1), 7),
            "user_id": world.ids.gather(user[keep]),
            "task_type": pl.Series(_TASK_TYPES).gather(kind[keep]),
            "completed_at": pl.Series(completed[keep]).cast(_INSTANT),
            "time_spent_minutes": (pl.Series(tenths[keep]) / 10).set(pl.Series(missing), None),
        },
    )
    ordinary = world.ids.filter(pl.Series((world.role == _CURRENT) & (world.start < clock.today - 1)))
    dirty = _dirty_progress(rows, clock, ordinary)
    return pl.concat([rows, dirty]).sort("completed_at", "progress_id", "user_id")


def _begin(draws: _Draws, clock: _Clock, world: _Learners, who: Ints, day: Ints) -> Ints:
    """When each day's practice begins: after work, before it or at noon, later at weekends."""
    size, people = len(who), len(world.role)
    habit = draws.pick((0.65, 0.15, 0.20), people)
    habit[world.role == _DEMO] = 1
    habit[world.role == _HEAVY] = 2
    around = np.array([80.0, 35.0, 50.0])[habit] * draws.normal(people)
    usual = np.array([1160.0, 430.0, 760.0])[habit] + around
    weekend = (_weekday(day) >= _SATURDAY) & draws.chance(0.4, size) & (world.role[who] != _DEMO)
    minute = np.where(weekend, 680.0 + 70.0 * draws.normal(size), usual[who] + 28.0 * draws.normal(size))
    local = day * _DAY + _floor(np.clip(minute, 300.0, 1380.0) * _MINUTE)
    return np.maximum(clock.instant(local, world.zone[who]), world.created_at[who] + 2 * _MINUTE)


def _tasks_done(draws: _Draws, world: _Learners, user: Ints, is_mock: Flags) -> tuple[Ints, Ints]:
    """What was practised, and for how many tenths of a minute."""
    size = len(user)
    favourite = draws.below(len(_TASKS), len(world.role))
    kind = draws.pick([share for share, _ in _TASKS.values()], size)
    kind = np.where(draws.chance(0.15, size), favourite[user], kind)
    kind = np.where(is_mock, _MOCK_TEST, kind)
    usual = np.array([*(minutes for _, minutes in _TASKS.values()), 50.0])
    pace = draws.spread(0.2, len(world.role))
    minutes = usual[kind] * np.where(is_mock, draws.spread(0.1, size), draws.spread(0.4, size) * pace[user])
    return kind, np.clip(_floor(minutes * 10.0), 30, 600)


def _dirty_progress(rows: pl.DataFrame, clock: _Clock, ordinary: pl.Series) -> pl.DataFrame:
    """Rows that break a rule, made after the newest real ones of members, in the hour before `as_of`."""
    as_of = pl.lit(clock.as_of).cast(_INSTANT)
    last = pl.lit(clock.as_of - 1).cast(_INSTANT)
    unknown, negative, stray, repeated = (DIRT[kind] for kind in tuple(DIRT)[:4])
    models = rows.filter(pl.col("completed_at") < as_of, pl.col("user_id").is_in(ordinary.implode())).reverse()
    broken = pl.concat(
        [
            models[:unknown].with_columns(task_type=pl.Series(_UNKNOWN_TASKS)),
            models[unknown:][:negative].with_columns(time_spent_minutes=pl.lit(-15.0)),
            models[unknown + negative :][:stray].with_columns(user_id=pl.lit(_UNKNOWN_LEARNER)),
        ],
    ).with_row_index("number", offset=1)
    numbers = broken["number"].cast(pl.Int64).to_numpy()
    broken = broken.drop("number").with_columns(
        progress_id=_numbered("progress", rows.height + numbers, 7),
        completed_at=pl.Series(clock.as_of - 4 * _MINUTE * numbers).cast(_INSTANT),
    )
    again = models[unknown + negative + stray :][:repeated].with_columns(
        completed_at=pl.min_horizontal(pl.col("completed_at") + timedelta(seconds=90), last),
    )
    return pl.concat([broken, again])


# --- Typing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Typists:
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
        prefix = pl.DataFrame({"typist": _numbered("keyboard", typist + 1, 4), "keyboard": keyboard + 1})
        return prefix.select(pl.format("{}-{}", "typist", "keyboard")).to_series()


@dataclass(frozen=True)
class _Sessions:
    """Practice sessions in order of their start."""

    typist: Ints
    keyboard: Ints
    start: Ints
    end: Ints
    nth: Ints
    """Sessions that the typist had before."""
    stray: Flags
    """On a keyboard that nobody knows."""

    @property
    def ids(self) -> pl.Series:
        return _numbered("session", np.arange(1, len(self.typist) + 1), 6)


def _typists(draws: _Draws, clock: _Clock, world: _Learners, size: int) -> _Typists:
    zone = draws.pick(_ZONE_SHARES, size)
    created = clock.as_of - _floor(draws.between(32, _PAST_DAYS, size) * _DAY)
    user = _numbered("typist", np.arange(1, size + 1), 4)
    tenth = np.arange(9, size, 10)
    eligible = np.flatnonzero((world.role == _CURRENT) & (world.created_at < clock.as_of - 34 * _DAY))
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
    return _Typists(
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


def _typist_rows(people: _Typists) -> pl.DataFrame:
    """The users that are not among the learners already; they have no scores and no cohort."""
    zones = pl.Series([None, *_ZONES[1:]], dtype=pl.String).gather(people.zone)
    rows = pl.DataFrame(
        {
            "user_id": people.user,
            "updated_at": pl.Series(people.created_at).cast(_INSTANT),
            "timezone": zones,
            "cohort_excluded": np.zeros(len(people.zone), dtype=np.bool_),
            "created_at": pl.Series(people.created_at).cast(_INSTANT),
        },
    )
    return rows.filter(~pl.Series(people.learner))


def _keyboard_rows(people: _Typists, clock: _Clock) -> pl.DataFrame:
    typist = np.repeat(np.arange(len(people.keyboards)), people.keyboards)
    keyboard = _counting(people.keyboards)
    known = people.created_at[typist]
    rows = pl.DataFrame(
        {
            "keyboard_id": people.keyboard_id(typist, keyboard),
            "updated_at": pl.Series(np.minimum(known + (1 + keyboard) * _HOUR, clock.as_of)).cast(_INSTANT),
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


def _sessions(draws: _Draws, clock: _Clock, people: _Typists) -> _Sessions:
    """Sessions in the evenings, in the hour before `as_of` and after it, some minutes apart at least."""
    size = len(people.zone)
    count = 5 + draws.below(11, size)
    count[_DEMO_TYPIST] = 12
    typist = np.repeat(np.arange(size), count)
    total = len(typist)
    # Quarters of an hour between sessions add up to less than four hours, which the first days leave free.
    day = clock.today - 28 + draws.below(27, total)
    minute = np.clip(1120.0 + 120.0 * draws.normal(total), 400.0, 1180.0) + 30.0 * draws.uniform(total)
    start = clock.instant(day * _DAY + _floor(minute * _MINUTE), people.zone[typist])
    start = start[np.lexsort((start, typist))] + _counting(count) * 15 * _MINUTE
    newest = np.cumsum(count) - 1
    recent = draws.chance(0.08, size)
    recent[_DEMO_TYPIST] = True
    before = clock.as_of - 5 * _MINUTE - draws.below(50 * _MINUTE, size)
    start[newest[recent]] = before[recent]
    coming = np.flatnonzero(draws.chance(0.15, size))
    after = clock.as_of + 5 * _MINUTE + draws.below(_AHEAD - 30 * _MINUTE, len(coming))
    typist, start = np.concatenate([typist, coming]), np.concatenate([start, after])
    order = np.lexsort((typist, start))
    typist, start = typist[order], start[order]
    by_typist = np.argsort(typist, kind="stable")
    nth = _filled(0, len(typist))
    nth[by_typist] = _counting(np.bincount(typist, minlength=size))
    second = (people.keyboards[typist] > 1) & draws.chance(0.35, len(typist))
    stray = np.zeros(len(typist), dtype=np.bool_)
    stray[np.flatnonzero((start < clock.as_of) & (typist != _DEMO_TYPIST))[-1]] = True
    return _Sessions(typist=typist, keyboard=second.astype(np.int64), start=start, end=start, nth=nth, stray=stray)


def _session_rows(people: _Typists, sessions: _Sessions) -> pl.DataFrame:
    keyboards = people.keyboard_id(sessions.typist, sessions.keyboard)
    return pl.DataFrame(
        {
            "session_id": sessions.ids,
            "user_id": people.user.gather(sessions.typist),
            "keyboard_id": keyboards.set(pl.Series(sessions.stray), _UNKNOWN_KEYBOARD),
            "start_time": pl.Series(sessions.start).cast(_INSTANT),
            "end_time": pl.Series(sessions.end).cast(_INSTANT),
        },
    )


@dataclass(frozen=True)
class _Keys:
    """The characters of the built-in sentences, and what the keyboard makes of them."""

    characters: tuple[str, ...]
    """By code; codes 0 and 1 are the end of a text and backspace."""
    sentences: Ints
    """Codes of all sentences, each with a space after it, then one end of a text."""
    begins: Ints
    lengths: Ints
    """Of each sentence with its space, then of the end of a text."""
    effort: Floats
    """[key before, key]: time relative to a key of ordinary difficulty."""
    neighbours: Ints
    """[key, 0..5]: what is hit instead, repeated to fill the row."""

    @classmethod
    def of(cls, draws: _Draws, sentences: Sequence[str]) -> "_Keys":
        characters = (
            _PAST_END,
            _BACKSPACE,
            *sorted(set("".join(sentences)) | set(" abcdefghijklmnopqrstuvwxyz,.;/")),
        )
        code = {character: number for number, character in enumerate(characters)}
        pieces = [*(sentence + " " for sentence in sentences), _PAST_END]
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        effort = np.array([[_effort(before, key) for key in characters] for before in characters])
        return cls(
            characters=characters,
            sentences=np.array([code[character] for character in "".join(pieces)], dtype=np.int64),
            begins=np.cumsum(lengths) - lengths,
            lengths=lengths,
            effort=effort * draws.spread(0.08, effort.size).reshape(effort.shape),
            neighbours=np.array([[code[other] for other in _hit_instead(key)] for key in characters]),
        )


def _place(character: str) -> tuple[int, float, int] | None:
    """Row, horizontal position and finger of a key; None for what no single finger of a row types."""
    for row, keys in enumerate(_KEY_ROWS):
        column = keys.find(character.lower())
        if column >= 0:
            return row, column + _KEY_STAGGER[row], _FINGERS[column]
    return None


def _effort(before: str, key: str) -> float:
    here, there = _place(key), _place(before)
    effort = 1.55 if key.isupper() else 1.0
    if here is None:
        return effort * 0.85
    row, _, finger = here
    effort *= (1.06, 0.96, 1.12)[row] * (1.18, 1.05, 0.97, 0.93, 0.93, 0.97, 1.05, 1.15)[finger]
    if not key.isalpha():
        effort *= 1.15
    if there is None:
        return effort
    if before.lower() == key.lower():
        return effort * 0.82
    if there[2] == finger:
        return effort * 1.32
    same_hand = (there[2] < _LEFT_HAND_FINGERS) == (finger < _LEFT_HAND_FINGERS)
    return effort * ((1.04 + 0.07 * abs(there[0] - row)) if same_hand else 0.92)


def _hit_instead(key: str) -> list[str]:
    """Six keys around `key` on a QWERTY keyboard, the nearest ones repeated."""
    here = _place(key)
    if here is None:
        return list("bnvmcb") if key == " " else [" "] * 6
    row, across, _ = here
    near: list[tuple[float, str]] = []
    for other in "".join(_KEY_ROWS):
        place = _place(other)
        if place is not None and other != key.lower():
            near.append(((place[0] - row) ** 2 + (place[1] - across) ** 2, other))
    around = [other for distance, other in sorted(near) if distance < _REACH][:6]
    wrong = [key.lower(), *around] if key.isupper() else around
    return (wrong * 6)[:6]


def _keystrokes(draws: _Draws, people: _Typists, sessions: _Sessions) -> tuple[_Sessions, pl.DataFrame]:
    """Everything that was typed, and the sessions with the time of their end."""
    keys = _Keys.of(draws, _SENTENCES)
    size = len(sessions.typist)
    session, text = _texts(draws, keys, size)
    lengths = np.bincount(session, minlength=size)
    index = _counting(lengths)
    before = np.where(index == 0, 0, np.roll(text, 1))
    weakness = draws.spread(0.16, len(people.zone) * keys.effort.size).reshape(-1, *keys.effort.shape)
    effort = keys.effort[before, text] * weakness[sessions.typist[session], before, text]
    learnt = people.learning[sessions.typist] * (1.0 - 1.0 / (1.0 + 0.25 * sessions.nth))
    slip = people.carelessness[sessions.typist] * (1.0 - 0.6 * learnt)
    held = _slips(draws, slip[session] * (0.35 + 0.65 * effort) * (text != 0), lengths)
    presses = _presses(draws, keys, text, held)

    owner = session[presses.position]
    count = np.bincount(owner, minlength=size)
    nth = _counting(count)
    resuming = np.roll(presses.deleting, 1) & (nth > 0)
    # To notice a slip takes a moment; then the backspaces follow quickly.
    on = effort[presses.position] * np.where(resuming, 1.3, 1.0)
    rhythm = np.where(presses.deleting, np.where(resuming, 0.7, 1.7), on)
    target = people.targets[sessions.typist, sessions.keyboard].astype(np.float64)
    pace = target * people.skill[sessions.typist] * (1.0 + 0.4 * people.learning[sessions.typist] - learnt)
    took = np.maximum(pace[owner] * rhythm * draws.spread(0.22, len(owner)), 25.0)
    took = np.where(nth == 0, draws.between(600.0, 2500.0, len(owner)), took)
    pressed = np.repeat(sessions.start, count) + _sum_within(_floor(took * 1000.0), count)
    end = pressed[np.cumsum(count) - 1] + _SECOND // 5 + draws.below(_SECOND, size)

    glyphs = pl.Series(keys.characters)
    frame = pl.DataFrame(
        {
            "session_id": sessions.ids.gather(owner),
            "key_index": pl.Series(nth, dtype=pl.Int32),
            "keystroke_time": pl.Series(pressed).cast(_INSTANT),
            "keystroke_char": glyphs.gather(presses.typed),
            "expected_char": glyphs.replace(_PAST_END, "").gather(text[presses.position]),
            "text_index": pl.Series(index[presses.position], dtype=pl.Int32),
        },
    )
    return replace(sessions, end=end), frame


def _texts(draws: _Draws, keys: _Keys, size: int) -> tuple[Ints, Ints]:
    """The sessions' texts, three to five sentences each: session and code of each character."""
    sentences = 3 + draws.below(3, size)
    overshoots = draws.chance(0.015, size)
    pieces = sentences + overshoots
    session = np.repeat(np.arange(size), pieces)
    nth = _counting(pieces)
    strides = np.array([1, 3, 7, 9, 11, 13, 17, 19])[draws.below(8, size)]
    piece = (draws.below(len(_SENTENCES), size)[session] + nth * strides[session]) % len(_SENTENCES)
    piece = np.where(nth == sentences[session], len(_SENTENCES), piece)
    # No space follows the last sentence.
    lengths = keys.lengths[piece] - (nth == sentences[session] - 1)
    of_piece = np.repeat(np.arange(len(piece)), lengths)
    return session[of_piece], keys.sentences[keys.begins[piece][of_piece] + _counting(lengths)]


def _slips(draws: _Draws, chance: Floats, lengths: Ints) -> Ints:
    """For each character: how many keys follow a wrong key before it is corrected.

    Slips keep a distance, so that corrections do not overlap.
    """
    size = len(chance)
    slip = draws.chance(chance, size)
    clear = slip.copy()
    for ahead in range(1, _MOST_HELD + 1):
        clear[ahead:] &= ~slip[:-ahead]
    choice = draws.pick((0.66, 0.12, 0.08, 0.05, 0.09), size)
    left = np.repeat(lengths, lengths) - 1 - _counting(lengths)
    held = np.where(choice > _MOST_HELD, _NEVER_CORRECTED, np.minimum(choice, left))
    return np.where(clear, held, _NO_SLIP)


@dataclass(frozen=True)
class _Presses:
    """Keys in the order of pressing."""

    position: Ints
    """In the texts of all sessions, one after the other."""
    typed: Ints
    """Code of the character."""
    deleting: Flags


def _presses(draws: _Draws, keys: _Keys, text: Ints, held: Ints) -> _Presses:
    """Turn each character of the text into a block of keys: itself, or a slip and its correction.

    A slip that is noticed after k more keys takes 1 + k keys, as many backspaces, and the same keys
    again, all right; the k characters after it are then typed already.
    """
    typed_already = np.zeros(len(text), dtype=np.bool_)
    for ahead in range(1, _MOST_HELD + 1):
        typed_already[ahead:] |= held[:-ahead] >= ahead
    block = np.where(typed_already, 0, np.where(held >= 0, 3 * held + 3, 1))
    at = np.repeat(np.arange(len(text)), block)
    nth, extra = _counting(block), np.maximum(held[at], 0)
    again = 2 * extra + 2
    slipped = held[at] != _NO_SLIP
    deleting = slipped & (nth > extra) & (nth < again)
    step = np.where(deleting, again - 1 - nth, np.where(nth >= again, nth - again, nth))
    position = at + step
    expected = text[position]
    hit = keys.neighbours[expected, draws.below(6, len(at))]
    wrong = (slipped & (nth == 0)) | (expected == 0)
    return _Presses(
        position=position,
        typed=np.where(deleting, _BACKSPACE_CODE, np.where(wrong, hit, expected)),
        deleting=deleting,
    )
