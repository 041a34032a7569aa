"""What runs do, in small: each a world as it is before, and what then happens to it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghost_pipeline.contracts.raw import SESSION_NGRAM_SPEED
from ghost_pipeline.incremental.retention import remove_expired
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.crashes.world import LEARNERS, World, event, keystrokes, session, users

TAKING_IN = ("users", "cohorts", "user_progress")
FIGURES = ("user_ghost_stats", "cohort_ghost_data")
TYPED = ("users", "keyboards", "practice_sessions", "session_keystrokes", "session_ngram_speed", "session_ngram_errors")
SUMMARIES = ("session_ngram_summary", "ngram_speed_summaries", "ngram_speed_summary_history")
MONTHLY = ("ghost_benchmarks", "ghost_streak_shares", "ghost_fastest_improvers")
SMALL: dict[str, object] = {"min_sample": 1, "bands": "7.5", "starting_skills": "6.0", "benchmark_days": 3}
NINE, TEN, ELEVEN, NOON = (f"2025-03-12-{hour:02}:00" for hour in (9, 10, 11, 12))
WORK = [event(f"e{n}", n, f"{8 + n % 3:02}:{n:02}") for n in range(LEARNERS)]
SESSIONS = [session("s0", "09:10"), session("s1", "10:10", 1)]
KEYS = [*keystrokes("s0", "the cat"), *keystrokes("s1", "a then", 2)]
KEYBOARDS = [{"keyboard_id": f"k{n}", "user_id": f"u{n:02}", "target_ms_per_keystroke": 700} for n in range(2)]


@dataclass(frozen=True)
class Scenario:
    """A world, and a run over it."""

    name: str
    before: Callable[[World], None]
    act: Callable[[World], None]
    tries: int = 5
    """How often the suite puts each fault in its way: less often where a try takes a second."""

    def prepare(self, folder: Path) -> World:
        """The world in a folder as it is before the run."""
        world = World(folder)
        self.before(world)
        return world


def _first(world: World) -> None:
    world.write(users=users(), cohorts=[{"cohort_id": "c1", "name": "spring"}], user_progress=WORK)


def _second(world: World) -> None:
    _first(world)
    world.run(ELEVEN, *TAKING_IN, *FIGURES)
    late, moved = event("late", 1, "09:30"), event("e1", 1, "10:59")
    changed = [{**one, "time_spent_minutes": 30} if one["progress_id"] == "e2" else one for one in WORK]
    kept = [one for one in changed if one["progress_id"] not in {"e0", "e1"}]
    world.write(
        users=users(LEARNERS + 1, u03={"timezone": "Asia/Tokyo"}, u04={"target_band": 8.0}),
        user_progress=[*kept, late, moved, event("new", 5, "12:10"), event("bad", 6, "12:20", time_spent_minutes=-1)],
    )


def _take_in_second(world: World) -> None:
    world.run(NOON, *TAKING_IN, max_removed_percent=100)


def _stale(world: World) -> None:
    _second(world)
    world.run(NOON, *TAKING_IN, *FIGURES, max_removed_percent=100)


def _rebuild(world: World) -> None:
    world.run(ELEVEN, *FIGURES)


def _range(world: World) -> None:
    _first(world)
    world.run(NOON, *TAKING_IN)
    world.run(NINE, "user_ghost_stats")


def _range_and_stale(world: World) -> None:
    _stale(world)
    world.run_range([Hour.from_key(key) for key in (NINE, TEN, ELEVEN, NOON)], *FIGURES)
    world.write(user_progress=[*WORK, event("later", 2, "09:59")])
    world.run(NOON, *TAKING_IN, max_removed_percent=100)


def _run_range(world: World) -> None:
    hours = [Hour.from_key(key) for key in (NINE, TEN, ELEVEN, NOON)]
    world.run_range(hours, *FIGURES, retention="user_ghost_stats=2h")


def _expire(world: World) -> None:
    chosen = "user_ghost_stats=1h,cohort_ghost_data=1h,user_progress=2h"
    resources = world.resources(retention=chosen)
    remove_expired(resources.lake, resources.settings.retention, resources.settings.database)


def _released(world: World) -> None:
    _first(world)
    world.run(TEN, *TAKING_IN, "user_ghost_stats", "cohort_ghost_release", release_compared_hours=1)
    more = [event(f"more{n}", n, "11:05") for n in range(6)]
    world.write(user_progress=[*WORK, *more])
    world.run(ELEVEN, *TAKING_IN, "user_ghost_stats", "cohort_ghost_release", release_compared_hours=1)
    world.run(NOON, *TAKING_IN, "user_ghost_stats")


def _release(world: World) -> None:
    world.run(NOON, "cohort_ghost_release", "ghost_messages", release_compared_hours=1)


def _month(world: World) -> None:
    world.write(
        users=users(),
        cohorts=[],
        user_progress=[event(f"e{n}", n, f"2025-02-28T{20 + n % 4}:00:00Z") for n in range(LEARNERS)],
    )
    world.run("2025-03-01-00:00", *TAKING_IN)
    world.run_month("2025-02", *MONTHLY, **SMALL)
    world.write(user_progress=[event(f"e{n}", n % 4, f"2025-02-28T{20 + n % 4}:30:00Z") for n in range(LEARNERS)])
    world.run("2025-03-01-00:00", *TAKING_IN, accept_deletions=True)


def _run_month(world: World) -> None:
    world.run_month("2025-02", "user_activity_checkpoints", *MONTHLY, **SMALL)


def _built_month(world: World) -> None:
    _month(world)
    _run_month(world)
    late = [event(f"late{n}", n, f"2025-02-27T{8 + n}:00:00Z") for n in range(3)]
    world.write(users=users(u01={"final_band_score": 8.0}), user_progress=late)


def _change_month(world: World) -> None:
    world.run("2025-03-01-01:00", *TAKING_IN, accept_deletions=True)
    _run_month(world)


def _published(world: World) -> None:
    _released(world)
    world.publish()


def _publish(world: World) -> None:
    _release(world)
    world.publish()


def _typing(world: World) -> None:
    world.write(users=users(2), keyboards=KEYBOARDS, practice_sessions=SESSIONS, session_keystrokes=KEYS)
    world.run(TEN, *TYPED, *SUMMARIES)
    world.write(
        practice_sessions=[*SESSIONS, session("s2", "11:20")],
        session_keystrokes=[*KEYS, *keystrokes("s2", "other")],
    )


def _type(world: World) -> None:
    world.run(ELEVEN, *TYPED)


def _typed(world: World) -> None:
    _typing(world)
    _type(world)


def _summarise(world: World) -> None:
    world.run(ELEVEN, *SUMMARIES)


def _late_typing(world: World) -> None:
    _typed(world)
    _summarise(world)
    world.write(
        practice_sessions=[*SESSIONS, session("s2", "11:20"), session("s3", "09:40", 1)],
        session_keystrokes=[*KEYS, *keystrokes("s2", "other"), *keystrokes("s3", "too late")],
    )


def _type_late(world: World) -> None:
    # The look-back is an hour: what is late makes extracted n-grams void from its hour on.
    world.run(NOON, *TYPED, *SUMMARIES, lookback_hours=1)


def _history(world: World) -> None:
    _late_typing(world)
    world.publish()
    _type_late(world)


def _lost(world: World) -> None:
    _typed(world)
    _summarise(world)


def _invalidate(world: World) -> None:
    lake = world.resources().lake
    lake.invalidate(SESSION_NGRAM_SPEED, Hour.from_key(NINE))
    world.run(ELEVEN, "session_ngram_speed", "session_ngram_summary")


SCENARIOS = (
    Scenario("a first hour", _first, lambda world: world.run(ELEVEN, *TAKING_IN, *FIGURES)),
    Scenario("late, changed, moved and deleted events", _second, _take_in_second),
    Scenario("a stale hour is built again", _stale, _rebuild),
    Scenario("a range of hours", _range, _run_range),
    Scenario("what is no longer kept", _range_and_stale, _expire),
    Scenario("a release", _released, _release),
    Scenario("a month", _month, _run_month, tries=3),
    Scenario("late events and a version of a built month", _built_month, _change_month, tries=3),
    Scenario("a publication", _published, _publish, tries=3),
    Scenario("a publication of histories", _history, lambda world: world.publish(), tries=5),
    Scenario("an hour of typing", _typing, _type, tries=3),
    Scenario("summaries of typing", _typed, _summarise),
    Scenario("typing that came late", _late_typing, _type_late, tries=3),
    Scenario("an hour made void", _lost, _invalidate),
)
