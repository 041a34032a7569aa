"""The demo source: what its documentation promises, at full size where counts matter, else smaller."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl
import pytest

from ghost_pipeline.contracts.raw import MOCK_TEST, SOURCE_TABLES, TASK_TYPES
from ghost_pipeline.demo_source import generated
from ghost_pipeline.demo_source.generated import generate_source
from ghost_pipeline.demo_source.landmarks import (
    ACHIEVERS,
    DEMO_AS_OF,
    DEMO_KEYBOARD,
    DEMO_LEARNER,
    DEMO_TYPIST,
    DIRT,
)
from ghost_pipeline.demo_source.sentences import SENTENCES
from ghost_pipeline.errors import UnknownTimeError

TEXT, NUMBER, INSTANT = pl.String(), pl.Float64(), pl.Datetime("us", "UTC")
SCHEMAS = MappingProxyType(
    {
        "users": pl.Schema(
            {
                "user_id": TEXT,
                "updated_at": INSTANT,
                "cohort_id": TEXT,
                "diagnostic_score": NUMBER,
                "final_band_score": NUMBER,
                "final_band_at": INSTANT,
                "target_band": NUMBER,
                "timezone": TEXT,
                "cohort_excluded": pl.Boolean(),
                "created_at": INSTANT,
            },
        ),
        "cohorts": pl.Schema({"cohort_id": TEXT, "cohort_key": TEXT, "created_at": INSTANT}),
        "user_progress": pl.Schema(
            {
                "progress_id": TEXT,
                "user_id": TEXT,
                "task_type": TEXT,
                "completed_at": INSTANT,
                "time_spent_minutes": NUMBER,
            },
        ),
        "keyboards": pl.Schema(
            {
                "keyboard_id": TEXT,
                "updated_at": INSTANT,
                "user_id": TEXT,
                "keyboard_name": TEXT,
                "target_ms_per_keystroke": NUMBER,
            },
        ),
        "practice_sessions": pl.Schema(
            {
                "session_id": TEXT,
                "user_id": TEXT,
                "keyboard_id": TEXT,
                "start_time": INSTANT,
                "end_time": INSTANT,
            },
        ),
        "session_keystrokes": pl.Schema(
            {
                "session_id": TEXT,
                "key_index": pl.Int32(),
                "keystroke_time": INSTANT,
                "keystroke_char": TEXT,
                "expected_char": TEXT,
                "text_index": pl.Int32(),
            },
        ),
    },
)
SMALL_CONTENT = "84c956175fbeb2986884ec4d24c6013b9fb4fea21e1f4a9c6c4fb9e802959730"
"""SHA-256 of the small world's rows: what is drawn must not depend on machine or release of a library."""

MONTH = datetime(2025, 3, 1, tzinfo=UTC)
AHEAD = timedelta(hours=6)

Tables = dict[str, pl.DataFrame]


def read(folder: Path) -> Tables:
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in SCHEMAS}


def generate_small(folder: Path, *, as_of: datetime = DEMO_AS_OF, typists: int = 20, seed: int = 7) -> None:
    generate_source(folder, as_of=as_of, learners=600, typists=typists, seed=seed)


def share(flags: pl.Series) -> float:
    """How many of the flags are true, 0 to 1."""
    return len(flags.filter(flags)) / len(flags)


def quantile(values: pl.Series, level: float) -> float:
    """Interpolated quantile of numbers."""
    return float(np.quantile(values.to_numpy(), level))


def mean(values: pl.Series) -> float:
    return float(np.mean(values.to_numpy()))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("full")
    generate_source(folder, as_of=DEMO_AS_OF)
    return read(folder)


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    generate_small(folder)
    return folder


def tasks(world: Tables) -> pl.DataFrame:
    """Accepted completions before `as_of`, without mock tests."""
    return (
        world["user_progress"]
        .filter(pl.col("task_type").is_in(TASK_TYPES), pl.col("completed_at") < DEMO_AS_OF)
        .filter(pl.col("time_spent_minutes").fill_null(0) >= 0)
        .unique("progress_id", keep="first", maintain_order=True)
    )


def domains(column: str) -> pl.Expr:
    """The score, floored to halves; whole tenths keep 6.999... out."""
    return (pl.col(column) * 10).round().cast(pl.Int64) // 5 / 2


def achievers(world: Tables) -> pl.DataFrame:
    return (
        world["users"]
        .filter(pl.col("updated_at") < MONTH, pl.col("created_at").dt.date() + timedelta(days=91) < MONTH.date())
        .with_columns(band=domains("final_band_score"), start=domains("diagnostic_score"))
        .filter(pl.col("band").is_in([7.0, 7.5, 8.0]), pl.col("start").is_between(5.0, 6.5))
    )


def active_members(world: Tables) -> pl.DataFrame:
    """user_id, cohort_id and number of tasks of every active member (G2.5)."""
    return (
        tasks(world)
        .group_by("user_id")
        .agg(
            tasks=pl.len(),
            minutes=pl.col("time_spent_minutes").sum(),
            this_week=(pl.col("completed_at") >= DEMO_AS_OF - timedelta(days=7)).sum(),
            last=pl.col("completed_at").max(),
        )
        .filter(pl.col("last") >= DEMO_AS_OF - timedelta(days=14))
        .join(world["users"].filter(~pl.col("cohort_excluded")), on="user_id")
        .filter(pl.col("cohort_id").is_not_null())
        .select("user_id", "cohort_id", "tasks", "minutes", "this_week")
    )


# --- The files ------------------------------------------------------------------------------------------


def test_same_arguments_give_the_same_bytes(small_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import datetime; from pathlib import Path; "
        "from ghost_pipeline.demo_source.generated import generate_source; "
        "as_of = datetime.fromisoformat(sys.argv[2]); "
        "generate_source(Path(sys.argv[1]), as_of=as_of, learners=600, typists=20)"
    )
    root = str(Path(generated.__file__).parents[2])
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "PYTHONPATH": root, "TZ": "Asia/Tokyo"}
    arguments = [sys.executable, "-c", code, str(tmp_path), DEMO_AS_OF.isoformat()]

    subprocess.run(arguments, check=True, env=environment)

    assert digests(tmp_path) == digests(small_folder)


def test_the_content_is_what_it_was(small_folder: Path) -> None:
    content = hashlib.sha256()
    for table in read(small_folder).values():
        content.update(table.write_csv().encode())

    assert content.hexdigest() == SMALL_CONTENT


def test_another_seed_is_another_world(small_folder: Path, tmp_path: Path) -> None:
    generate_small(tmp_path, seed=8)

    assert not set(digests(tmp_path).items()) & set(digests(small_folder).items())


def test_the_size_of_one_domain_does_not_change_the_other(small_folder: Path, tmp_path: Path) -> None:
    generate_small(tmp_path, typists=30)

    assert digests(tmp_path)["user_progress.parquet"] == digests(small_folder)["user_progress.parquet"]


def test_an_instant_counts_whatever_its_zone(small_folder: Path, tmp_path: Path) -> None:
    as_of = DEMO_AS_OF.astimezone(timezone(timedelta(hours=9)))

    generate_small(tmp_path, as_of=as_of)

    assert digests(tmp_path) == digests(small_folder)


@pytest.mark.parametrize("name", SCHEMAS)
def test_tables_have_the_canonical_columns(world: Tables, name: str) -> None:
    assert world[name].schema == SCHEMAS[name]
    assert tuple(SCHEMAS[name]) == tuple(column.name for column in SOURCE_TABLES[name].columns)


def test_rows_are_in_order(world: Tables) -> None:
    for name, keys in (
        ("users", ["user_id"]),
        ("cohorts", ["cohort_id"]),
        ("user_progress", ["completed_at", "progress_id"]),
        ("keyboards", ["keyboard_id"]),
        ("practice_sessions", ["session_id"]),
        ("session_keystrokes", ["session_id", "key_index"]),
    ):
        rows = world[name].select(keys)
        assert rows.equals(rows.sort(keys)), name
        assert not rows.is_duplicated().any(), name


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_small(tmp_path)
    before = digests(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        generate_small(tmp_path, seed=8)

    assert digests(tmp_path) == before


def test_full_size_is_small_enough(world: Tables) -> None:
    rows = {name: table.height for name, table in world.items()}

    assert 500_000 <= rows["user_progress"] <= 700_000
    assert 500_000 <= rows["session_keystrokes"] <= 900_000


@pytest.mark.parametrize("name", ["user_progress", "practice_sessions", "session_keystrokes"])
def test_the_documentation_tells_the_number_of_rows(world: Tables, name: str) -> None:
    assert generated.__doc__ is not None
    assert f"{world[name].height:,} " in generated.__doc__.replace("\n", " ")


@pytest.mark.parametrize(("learners", "typists"), [(499, 20), (30_001, 20), (600, 9), (600, 5_001)], ids=str)
def test_sizes_out_of_range_are_refused(tmp_path: Path, learners: int, typists: int) -> None:
    with pytest.raises(ValueError, match="is not between"):
        generate_source(tmp_path, as_of=DEMO_AS_OF, learners=learners, typists=typists)

    assert not list(tmp_path.iterdir())


def test_an_instant_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownTimeError, match="names no zone"):
        generate_source(tmp_path, as_of=DEMO_AS_OF.replace(tzinfo=None))


@pytest.mark.parametrize(
    "as_of",
    [
        datetime(2024, 2, 29, 23, tzinfo=UTC),
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2025, 3, 30, 1, tzinfo=UTC),
        datetime(2025, 12, 31, 5, 30, tzinfo=UTC),
    ],
    ids=str,
)
def test_any_instant_will_do(tmp_path: Path, as_of: datetime) -> None:
    generate_small(tmp_path, as_of=as_of)
    world = read(tmp_path)

    own = world["user_progress"].filter(pl.col("user_id") == DEMO_LEARNER)["completed_at"]
    assert own.is_between(as_of - timedelta(days=2), as_of).any()
    for table, column in (
        ("users", "created_at"),
        ("user_progress", "completed_at"),
        ("practice_sessions", "end_time"),
    ):
        assert (world[table][column] < as_of + AHEAD).all()
    sessions = world["practice_sessions"].filter(pl.col("user_id") == DEMO_TYPIST)
    assert sessions["start_time"].is_between(as_of - timedelta(hours=1), as_of).any()


# --- Dirt -----------------------------------------------------------------------------------------------


def test_everything_refers_to_something_but_the_documented_dirt(world: Tables) -> None:
    users = world["users"].select("user_id")
    progress, sessions = world["user_progress"], world["practice_sessions"]

    stray = progress.join(users, on="user_id", how="anti")
    assert stray.height == DIRT["progress of an unknown user"]
    for name in ("keyboards", "practice_sessions"):
        assert world[name].join(users, on="user_id", how="anti").is_empty()
    keyboards = world["keyboards"].select("keyboard_id", owner="user_id")
    lost = sessions.join(keyboards, on="keyboard_id", how="anti")
    assert lost.height == DIRT["session on an unknown keyboard"]
    owned = sessions.join(keyboards, on="keyboard_id")
    assert (owned["user_id"] == owned["owner"]).all()
    keystrokes = world["session_keystrokes"].select("session_id").unique()
    assert keystrokes.join(sessions, on="session_id", how="anti").is_empty()
    assert sessions.join(keystrokes, on="session_id", how="anti").is_empty()
    unlisted = world["users"].drop_nulls("cohort_id").join(world["cohorts"], on="cohort_id", how="anti")
    assert unlisted["cohort_id"].unique().len() == 1
    assert unlisted.height == 12


def test_dirty_rows_are_as_many_as_documented(world: Tables) -> None:
    progress, users, keyboards = world["user_progress"], world["users"], world["keyboards"]
    scores = pl.col("diagnostic_score", "final_band_score", "target_band")

    unknown = progress.filter(~pl.col("task_type").is_in([*TASK_TYPES, MOCK_TEST]))
    negative = progress.filter(pl.col("time_spent_minutes") < 0)
    assert unknown.height == DIRT["unknown task type"]
    assert negative.height == DIRT["negative minutes"]
    assert progress.height - progress["progress_id"].n_unique() == DIRT["repeated progress_id"]
    assert users.select((scores > 9).sum().cast(pl.Int64)).sum_horizontal().item() == DIRT["diagnostic score of 9.5"]
    assert users.filter(pl.col("timezone") == "Asia/Calcuta").height == DIRT["unknown timezone"]
    assert keyboards.filter(~pl.col("target_ms_per_keystroke").is_between(180, 350)).height == DIRT["target of 20 ms"]


def test_dirty_completions_lie_in_the_hour_before_as_of(world: Tables) -> None:
    progress = world["user_progress"]
    dirty = progress.filter(
        ~pl.col("task_type").is_in([*TASK_TYPES, MOCK_TEST])
        | (pl.col("time_spent_minutes") < 0)
        | (pl.col("user_id") == "learner-99999")
        | ~pl.col("progress_id").is_first_distinct(),
    )

    assert dirty.height == 13
    assert dirty["completed_at"].is_between(DEMO_AS_OF - timedelta(hours=1), DEMO_AS_OF, closed="left").all()


def test_nothing_refers_to_rows_that_are_rejected(world: Tables) -> None:
    user = world["users"].filter(pl.col("diagnostic_score") > 9)
    keyboard = world["keyboards"].filter(pl.col("target_ms_per_keystroke") < 50)

    for name in ("user_progress", "keyboards", "practice_sessions"):
        assert world[name].join(user, on="user_id", how="semi").is_empty()
    assert world["practice_sessions"].join(keyboard, on="keyboard_id", how="semi").is_empty()


# --- Learners -------------------------------------------------------------------------------------------


def test_every_cell_has_the_documented_achievers(world: Tables) -> None:
    counts = achievers(world).group_by("band", "start").len().rows()

    assert {(band, start): people for band, start, people in counts} == dict(ACHIEVERS)
    assert [cell for cell, people in ACHIEVERS.items() if people < 50] == [(8.0, 5.0)]


@pytest.mark.parametrize("day", [14, 28, 60, 90])
def test_benchmarks_rise_with_the_band(world: Tables, day: int) -> None:
    people = achievers(world)
    done = (
        tasks(world)
        .join(people.select("user_id", "created_at"), on="user_id")
        .filter(pl.col("completed_at") < pl.col("created_at").dt.truncate("1d") + timedelta(days=day))
        .group_by("user_id")
        .len("tasks")
    )
    figures = (
        people.join(done, on="user_id", how="left")
        .group_by("start", "band")
        .agg(
            p50=pl.col("tasks").fill_null(0).quantile(0.5, "linear"),
            p25=pl.col("tasks").fill_null(0).quantile(0.75, "linear"),
            size=pl.len(),
        )
        .filter(pl.col("size") >= 50)
        .sort("start", "band")
    )

    rises = figures.select(pl.col("p25", "p50").diff().over("start")).drop_nulls()
    assert rises.height == 7
    assert (rises["p25"] > 0).all()
    assert (rises["p50"] >= 0).all()


def test_scores_are_bands_in_tenths(world: Tables) -> None:
    learners = world["users"].filter(pl.col("diagnostic_score").fill_null(0) <= 9)
    finals = learners["final_band_score"].drop_nulls()

    for column in ("diagnostic_score", "final_band_score", "target_band"):
        scores = learners[column].drop_nulls()
        assert ((scores * 10).round() / 10 == scores).all()
        assert scores.is_between(4.0, 9.0).all()
    assert share(finals * 2 % 1 == 0) > 0.9
    finished = learners.drop_nulls("final_band_score")
    assert 0.08 < finished["final_band_at"].null_count() / finished.height < 0.18
    assert (finished["final_band_at"] > finished["created_at"]).all()
    assert learners.filter(pl.col("final_band_score").is_null())["final_band_at"].null_count() == (
        learners["final_band_score"].null_count()
    )


def test_who_has_taken_the_test_practises_no_more(world: Tables) -> None:
    last = world["user_progress"].group_by("user_id").agg(last=pl.col("completed_at").max())
    finished = world["users"].drop_nulls("final_band_at").join(last, on="user_id")

    assert (finished["last"] < finished["final_band_at"]).all()


def test_cohorts_have_the_documented_sizes(world: Tables) -> None:
    members = world["users"].drop_nulls("cohort_id").group_by("cohort_id").len().sort("cohort_id")
    active = active_members(world).group_by("cohort_id").len("active")
    sizes = members.join(active, on="cohort_id", how="left").fill_null(0)
    current = sizes.filter(pl.col("active") > 0)

    assert current.height == 67
    assert current["len"][:60].is_between(15, 40).all()
    assert (current["active"][:60] >= 10).all()
    assert current["len"][60:65].to_list() == [3, 4, 6, 8, 9]
    assert current["len"][65:].to_list() == [14, 12]
    assert current["cohort_id"].to_list() == [*(f"cohort-{n:03}" for n in range(1, 67)), "cohort-999"]
    assert sizes.height - current.height == 109
    assert world["users"]["cohort_excluded"].sum() == 40
    loners = world["users"].filter(pl.col("user_id").str.starts_with("learner-"), pl.col("cohort_id").is_null())
    assert loners.height == 60


def test_cohort_keys_tell_skill_velocity_and_track(world: Tables) -> None:
    pattern = r"^skill_\d\.\d_velocity_(slow|medium|fast)_track_(academic|general)$"

    assert world["cohorts"]["cohort_key"].str.contains(pattern).all()


def test_one_cohort_is_dominated_by_one_member_and_no_healthy_one_is(world: Tables) -> None:
    figures = (
        active_members(world)
        .group_by("cohort_id")
        .agg(pl.col(figure).top_k(2).sum() / pl.col(figure).sum() for figure in ("tasks", "minutes", "this_week"))
    )
    shares = figures.with_columns(share=pl.max_horizontal("tasks", "minutes", "this_week"))
    dominated = shares.filter(pl.col("cohort_id") == "cohort-066")
    healthy = shares.filter(pl.col("cohort_id") <= "cohort-060")

    assert dominated.select(pl.min_horizontal("tasks", "minutes", "this_week")).item() > 0.9
    assert (healthy["share"] < 0.9).all()


def test_profiles_are_filled_as_documented(world: Tables) -> None:
    learners = world["users"].filter(pl.col("user_id").str.starts_with("learner-"))
    active = active_members(world).join(learners, on="user_id")

    assert learners.height == 6000
    assert 0.45 < share(active["target_band"].is_not_null()) < 0.55
    assert 0.3 < learners["timezone"].null_count() / 6000 < 0.36
    assert learners["timezone"].drop_nulls().n_unique() == 14


def test_the_demo_learner_is_behind_in_a_healthy_cohort(world: Tables) -> None:
    learner = world["users"].row(by_predicate=pl.col("user_id") == DEMO_LEARNER, named=True)
    active = active_members(world)
    cohort = active.filter(pl.col("cohort_id") == learner["cohort_id"])
    own = tasks(world).filter(pl.col("user_id") == DEMO_LEARNER)
    day = (DEMO_AS_OF.date() - learner["created_at"].date()).days + 1
    peers = achievers(world).filter(pl.col("band") == 7.5, pl.col("start") == 5.5)
    done = (
        tasks(world)
        .join(peers.select("user_id", "created_at"), on="user_id")
        .filter(pl.col("completed_at") < pl.col("created_at").dt.truncate("1d") + timedelta(days=day))
        .group_by("user_id")
        .len()
    )

    assert (learner["diagnostic_score"], learner["target_band"], day) == (5.7, 7.5, 21)
    assert not learner["cohort_excluded"]
    assert cohort.height >= 20
    assert (own["completed_at"] >= DEMO_AS_OF - timedelta(days=1)).any()
    assert own.height < 0.9 * quantile(done["len"], 0.75)
    assert own.height < 0.9 * mean(cohort["tasks"])


# --- Practice -------------------------------------------------------------------------------------------


def test_completions_lie_between_signing_up_and_the_hours_after_as_of(world: Tables) -> None:
    users, progress = world["users"], world["user_progress"]
    dated = progress.join(users, on="user_id")

    assert (users["created_at"] >= DEMO_AS_OF - timedelta(days=182)).all()
    assert (users["updated_at"] < DEMO_AS_OF + AHEAD).all()
    assert (users["updated_at"] >= users["created_at"]).all()
    assert (dated["completed_at"] > dated["created_at"]).all()
    assert (progress["completed_at"] < DEMO_AS_OF + AHEAD).all()
    assert progress.filter(pl.col("completed_at") >= DEMO_AS_OF + timedelta(hours=5)).height > 10


def test_the_month_before_is_complete(world: Tables) -> None:
    day = pl.col("completed_at").dt.date()
    days = world["user_progress"].filter(day.is_between(date(2025, 2, 1), date(2025, 2, 28))).group_by(day).len()

    assert days.height == 28
    assert (days["len"] > 1000).all()


def test_minutes_are_between_3_and_60_and_some_are_missing(world: Tables) -> None:
    minutes = world["user_progress"]["time_spent_minutes"]

    assert 0.01 < minutes.null_count() / minutes.len() < 0.03
    assert minutes.filter(minutes > 0).is_between(3, 60).all()


def test_tasks_are_mixed_and_mock_tests_rare(world: Tables) -> None:
    progress = world["user_progress"]
    shares = dict(progress.group_by("task_type").agg(pl.len() / progress.height).rows())

    assert all(0.08 < shares[task] < 0.25 for task in TASK_TYPES)
    assert 0.01 < shares[MOCK_TEST] < 0.05


def test_activity_is_heavy_tailed_and_streaks_look_human(world: Tables) -> None:
    done = active_members(world)["tasks"]
    days = tasks(world).select("user_id", day=pl.col("completed_at").dt.date()).unique().sort("user_id", "day")
    runs = days.with_columns(
        run=(pl.col("day") - pl.int_range(pl.len()).over("user_id") * timedelta(days=1)),
    ).group_by("user_id", "run")
    longest = runs.len().group_by("user_id").agg(pl.col("len").max())
    best = achievers(world).join(longest, on="user_id")["len"]

    assert mean(done) > 1.2 * quantile(done, 0.5)
    assert quantile(done, 0.99) > 4 * quantile(done, 0.5)
    assert 0.8 < share(best >= 5) < 0.98
    assert 0.01 < share(best >= 30) < 0.1


def test_practice_follows_the_local_clock(world: Tables) -> None:
    here = tasks(world).join(world["users"].filter(pl.col("timezone") == "Asia/Kolkata"), on="user_id")
    local = here.select(pl.col("completed_at").dt.convert_time_zone("Asia/Kolkata"))["completed_at"]
    hours = local.dt.hour()

    assert share(hours.is_between(18, 22)) > 0.4
    assert share(hours.is_between(1, 5)) < 0.03
    assert share(local.dt.weekday() == 6) < share(local.dt.weekday() == 2)


# --- Typing ---------------------------------------------------------------------------------------------


def test_typists_and_keyboards_are_as_documented(world: Tables) -> None:
    keyboards = world["keyboards"].filter(pl.col("target_ms_per_keystroke") > 20)
    owners = keyboards.group_by("user_id").len()
    names = world["users"].filter(pl.col("user_id").str.starts_with("typist-"))

    assert owners.height == 300
    assert owners["len"].is_in([1, 2]).all()
    assert names.height == 270
    assert names.join(world["user_progress"], on="user_id", how="semi").is_empty()
    assert names["cohort_id"].null_count() == names.height


def test_sessions_lie_in_the_last_month_and_do_not_overlap(world: Tables) -> None:
    sessions = world["practice_sessions"].sort("user_id", "start_time")
    before = sessions.filter(pl.col("start_time") < DEMO_AS_OF)
    gaps = sessions.select(gap=(pl.col("start_time") - pl.col("end_time").shift(1)).over("user_id"))["gap"]
    created = sessions.join(world["users"], on="user_id")

    assert before.group_by("user_id").len()["len"].is_between(5, 15).all()
    assert (sessions["start_time"] >= DEMO_AS_OF - timedelta(days=30)).all()
    assert (sessions["end_time"] < DEMO_AS_OF + AHEAD).all()
    assert before.filter(pl.col("start_time") >= DEMO_AS_OF - timedelta(hours=1)).height == 28
    assert sessions.height - before.height == 45
    assert (gaps.drop_nulls() > timedelta(0)).all()
    assert (created["start_time"] > created["created_at"]).all()


def test_keys_are_pressed_one_after_the_other_within_their_session(world: Tables) -> None:
    keys = world["session_keystrokes"]
    bounds = keys.group_by("session_id").agg(first=pl.col("keystroke_time").min(), last=pl.col("keystroke_time").max())
    sessions = world["practice_sessions"].join(bounds, on="session_id")
    steps = keys.select(
        index=pl.col("key_index") - pl.int_range(pl.len(), dtype=pl.Int32).over("session_id"),
        step=pl.col("keystroke_time").diff().over("session_id"),
    )

    assert (steps["index"] == 0).all()
    assert (steps["step"].drop_nulls() > timedelta(milliseconds=20)).all()
    assert (sessions["first"] > sessions["start_time"]).all()
    assert (sessions["last"] < sessions["end_time"]).all()


def test_replaying_the_keys_walks_through_the_text(small_folder: Path) -> None:
    keys = read(small_folder)["session_keystrokes"]
    known = set(SENTENCES)
    for (_,), session in keys.group_by("session_id", maintain_order=True):
        net: list[int] = []
        for typed, position in session.select("keystroke_char", "text_index").iter_rows():
            if typed == "\b":
                assert net.pop() == position
            else:
                assert position == len(net)
                net.append(position)
        text = session.group_by("text_index").agg(pl.col("expected_char").unique()).sort("text_index")
        assert text["text_index"].to_list() == net
        assert (text["expected_char"].list.len() == 1).all()
        expected = "".join(text["expected_char"].list.first())
        assert set(expected.replace(". ", ".\n").split("\n")) <= known


def test_about_4_in_100_keys_are_wrong_and_most_are_corrected(world: Tables) -> None:
    keys = world["session_keystrokes"].with_columns(deleting=pl.col("keystroke_char") == "\b")
    typed = keys.filter(~pl.col("deleting"), pl.col("expected_char") != "")
    wrong = typed.filter(pl.col("keystroke_char") != pl.col("expected_char"))
    net = keys.filter(~pl.col("deleting")).unique(["session_id", "text_index"], keep="last")
    left = net.filter(pl.col("keystroke_char") != pl.col("expected_char"), pl.col("expected_char") != "")
    at_once = keys.filter(
        (pl.col("keystroke_char") != pl.col("expected_char")) & ~pl.col("deleting"),
        pl.col("deleting").shift(-1).over("session_id"),
    )

    assert 0.03 < wrong.height / typed.height < 0.06
    assert 0.05 < left.height / wrong.height < 0.15
    assert 0.6 < at_once.height / wrong.height < 0.75
    assert keys.filter(pl.col("expected_char") == "").height == 54


def test_typists_get_faster_and_some_ngrams_meet_the_target(world: Tables) -> None:
    keys = (
        world["session_keystrokes"]
        .with_columns(ms=pl.col("keystroke_time").diff().over("session_id").dt.total_microseconds() / 1000)
        .filter(pl.col("keystroke_char") == pl.col("expected_char"))
        .drop_nulls("ms")
        .join(world["practice_sessions"], on="session_id")
        .join(world["keyboards"], on="keyboard_id")
        .with_columns(ratio=pl.col("ms") / pl.col("target_ms_per_keystroke"))
        .with_columns(nth=pl.col("session_id").rank("dense").over("keyboard_id"))
    )
    ratios = keys.group_by("keyboard_id", "expected_char").agg(pl.col("ratio").mean())["ratio"]

    first, tenth = (mean(keys.filter(pl.col("nth") == nth)["ratio"]) for nth in (1, 10))
    assert tenth < 0.95 * first
    assert 0.2 < share(ratios <= 1) < 0.5
    assert 0.2 < share(ratios > 4 / 3) < 0.5


def test_the_demo_typist_has_practised_in_the_last_hour(world: Tables) -> None:
    sessions = world["practice_sessions"].filter(pl.col("user_id") == DEMO_TYPIST, pl.col("start_time") < DEMO_AS_OF)

    assert set(sessions["keyboard_id"]) == {DEMO_KEYBOARD}
    assert sessions.height == 12
    assert (sessions["start_time"] >= DEMO_AS_OF - timedelta(hours=1)).any()
    assert DEMO_KEYBOARD in world["keyboards"].filter(pl.col("user_id") == DEMO_TYPIST)["keyboard_id"]


def test_sentences_are_short_and_plain() -> None:
    assert len(set(SENTENCES)) == 40
    assert all(40 <= len(sentence) <= 80 and sentence.isascii() for sentence in SENTENCES)
