"""The demo source: generated learners and typists, realistic and the same on every machine.

No person here is real; ids say who is a learner and who a typist. The figures are those of the defaults at
`DEMO_AS_OF`, counted in the files; another number of learners scales the first two groups.

Learners: 6,000, who signed up in the six months before `as_of`, five of them in the hours after it.

- 60 current cohorts of 15 to 40 members, five small ones (3 to 9) and one of 14 in which a single
  member did 97 % of the tasks; 1,405 members are active, in 62 cohorts 10 or more, in 36 of them 20 or
  more. One more cohort of 12 is missing in `cohorts`. 60 current learners have no cohort, 40 are
  excluded from theirs, 287 members of current cohorts are silent or excluded.
- 109 closed cohorts hold all earlier learners, none active in the last two weeks.
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
  one to three more keys, the rest never. 54 times a typist goes on past the end of the text.

Dirt (`DIRT`), so that validation has something to reject: 12 rows of `user_progress` with an unknown task
type (5), negative minutes (4) or an unknown user (3), all in the hour before `as_of`; one completion that
is delivered twice under its id; one learner, otherwise silent, with a score of 9.5; one timezone that does
not exist; one keyboard, never used, with a target of 20 ms; one session on an unknown keyboard.
"""

from datetime import datetime
from pathlib import Path

import polars as pl

from ghost_pipeline.demo_source.clock import Clock
from ghost_pipeline.demo_source.draws import Draws
from ghost_pipeline.demo_source.keystrokes import type_sessions
from ghost_pipeline.demo_source.landmarks import FULL_SIZE
from ghost_pipeline.demo_source.learners import draw_learners, learner_rows
from ghost_pipeline.demo_source.progress import draw_progress
from ghost_pipeline.demo_source.typists import draw_sessions, draw_typists, keyboard_rows, session_rows, typist_rows
from ghost_pipeline.demo_source.writing import write_table
from ghost_pipeline.errors import UnknownTimeError

_SMALLEST, _LARGEST = (500, 10), (30_000, 5_000)


def generate_source(
    folder: Path,
    *,
    as_of: datetime,
    learners: int = FULL_SIZE,
    typists: int = 300,
    seed: int = 7,
    days_ahead: int = 0,
) -> None:
    """Write the demo source into `folder`, one Parquet file for each canonical table.

    Every file appears complete or not at all; files of the same names are replaced. The same arguments
    give the same bytes.

    Args:
        folder: made if it does not exist.
        as_of: the instant (aware) around which the events lie.
        learners: users with ghost data, 500 to 30,000.
        typists: users with keyboards, 10 to 5,000; every tenth is one of the learners.
        seed: another seed is another world of the same kind.
        days_ahead: days after `as_of` on which people still practise, for a demo that goes on; 0: six hours.

    Raises:
        UnknownTimeError: `as_of` names no zone.
        ValueError: a size is out of range.

    """
    if as_of.tzinfo is None:
        raise UnknownTimeError(f"as of {as_of.isoformat()}: names no zone; write it like 2025-03-12T12:00Z")
    for name, size, low, high in zip(("learners", "typists"), (learners, typists), _SMALLEST, _LARGEST, strict=True):
        if not low <= size <= high:
            raise ValueError(f"{name}: {size} is not between {low} and {high}")
    clock = Clock.around(as_of, days_ahead)
    world = draw_learners(Draws(seed, "learners"), clock, learners)
    progress = draw_progress(Draws(seed, "progress"), clock, world)
    people = draw_typists(Draws(seed, "typists"), clock, world, typists)
    sessions = draw_sessions(Draws(seed, "sessions"), clock, people)
    sessions, keystrokes = type_sessions(Draws(seed, "keystrokes"), people, sessions)
    tables = {
        "users": pl.concat([learner_rows(world), typist_rows(people)], how="diagonal").sort("user_id"),
        "cohorts": world.cohorts.sort("cohort_id"),
        "user_progress": progress,
        "keyboards": keyboard_rows(people, clock),
        "practice_sessions": session_rows(people, sessions),
        "session_keystrokes": keystrokes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, folder / f"{name}.parquet")
