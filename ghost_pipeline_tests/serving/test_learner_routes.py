"""The HTTP API about learners."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import NoReturn
from unittest.mock import create_autospec

import httpx
import polars as pl
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.errors import UnknownArgumentError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.publication_parts import differing_files
from ghost_pipeline.serving import GhostReader, learner_routes, service
from ghost_pipeline.serving.learners import with_own
from ghost_pipeline.serving.responses import EXAMPLE
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.serving.worlds import AS_OF, NOW, bearer, make_source, materialize, served, settings


def test_the_example_of_the_specification_comes_out_to_the_letter(api: httpx.Client) -> None:
    answer = api.get("/cohort/me/ghost-data")
    assert answer.status_code == 200
    assert answer.text == json.dumps(EXAMPLE, separators=(",", ":"))


def test_the_extended_response_says_how_old_each_figure_is(api: httpx.Client) -> None:
    answer = api.get("/cohort/me/ghost-data", params={"extended": "true"}).json()
    more = {name: answer.pop(name) for name in ("as_of", "released_as_of", "benchmark_as_of", "suppressed")}
    assert answer == EXAMPLE
    assert more == {
        "as_of": "2025-03-12T12:00:00Z",
        "released_as_of": "2025-03-12T12:00:00Z",
        "benchmark_as_of": "2025-03-01T00:00:00Z",
        "suppressed": False,
    }


@pytest.mark.parametrize("user_id", ["me", "m01", "x1", "a01", "d1"])
def test_the_server_sends_what_the_reader_says(user_id: str, api: httpx.Client, reader: GhostReader) -> None:
    said = reader.ghost_data(user_id).model_dump_json()
    assert api.get(f"/cohort/{user_id}/ghost-data").text == said
    assert api.get(f"/cohort/{user_id}/ghost-data?extended=false").text == said
    extended = reader.ghost_data(user_id, extended=True).model_dump_json()
    assert api.get(f"/cohort/{user_id}/ghost-data?extended=true").text == extended


def test_a_user_without_a_cohort_gets_the_same_object_with_nulls(api: httpx.Client) -> None:
    answer = api.get("/cohort/a01/ghost-data").json()
    assert answer["cohort_comparison"] == {
        "cohort_size": 0,
        "avg_tasks_completed": None,
        "avg_tasks_this_week": None,
        "user_percentile": None,
        "message": None,
    }
    assert answer["top_performers"] == {"top_10_percent_tasks": None, "top_25_percent_tasks": None}


def test_an_answer_says_its_clock_and_that_it_is_fresh(api: httpx.Client) -> None:
    headers = api.get("/cohort/me/ghost-data").headers
    assert (headers["ghost-as-of"], headers["ghost-stale"]) == ("2025-03-12T12:00:00Z", "false")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cohort/me/ghost-data", 200),
        ("/users/me/messages?context=weekly_report", 200),
        ("/users/me/percentile?metric=streak", 200),
        ("/ngrams/me/k1/heatmap", 200),
        ("/ngrams/me/k1/progress", 200),
        ("/users/me/keyboards", 200),
        ("/health", 200),
        ("/cohort/nobody/ghost-data", 404),
        ("/users/me/percentile?metric=height", 422),
        ("/users/me/messages", 422),
        ("/openapi.json", 200),
        ("/users", 404),
        ("/users/me/percentile/x", 404),
    ],
)
def test_nothing_between_server_and_app_keeps_an_answer(path: str, status: int, api: httpx.Client) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_refusals_of_the_framework_are_not_kept_either(api: httpx.Client) -> None:
    for answer, status in (
        (api.post("/cohort/me/ghost-data"), 405),
        (api.get("/cohort/me/ghost-data", headers={"Host": "elsewhere.example"}), 400),
    ):
        assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_answer_that_fails_is_not_kept_either(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> NoReturn:
        raise RuntimeError("a defect")

    monkeypatch.setattr(learner_routes, "percentile_of", fails)
    with served(published) as client:
        answer = client.get("/users/me/percentile?metric=streak")
    assert (answer.status_code, answer.headers["cache-control"]) == (500, "no-store")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "defect" not in answer.text


def test_a_refused_token_is_not_kept_either(guarded: httpx.Client) -> None:
    answer = guarded.get("/cohort/me/ghost-data")
    assert (answer.status_code, answer.headers["cache-control"]) == (401, "no-store")


def test_an_answer_from_an_old_publication_says_so(published: Settings) -> None:
    with served(published, AS_OF + timedelta(hours=2, seconds=1)) as late:
        assert late.get("/cohort/me/ghost-data").headers["ghost-stale"] == "true"
        assert late.get("/users/me/percentile", params={"metric": "streak"}).headers["ghost-stale"] == "true"


@pytest.mark.parametrize(
    "path",
    [
        "/cohort/nobody/ghost-data",
        "/users/nobody/messages?context=weekly_report",
        "/users/nobody/percentile?metric=streak",
    ],
)
def test_an_unknown_user_is_not_found(path: str, api: httpx.Client) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "unknown user 'nobody' (as of 2025-03-12T12:00Z)"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/users/me/messages", "context: Field required"),
        (
            "/users/me/messages?context=breakfast",
            "context must be one of daily_dashboard, task_completion, weekly_report",
        ),
        ("/users/me/messages?context=weekly_report&tasks_completed=-1", "greater than or equal to 0"),
        ("/users/me/percentile?metric=height", "choose one of tasks_completed, streak, practice_time"),
        ("/users/me/percentile?metric=streak&base=planet", "choose one of cohort, global"),
        ("/cohort/me/ghost-data?extended=perhaps", "valid boolean"),
        ("/benchmarks?population=everybody", "population must be one of interval, at_least"),
        ("/benchmarks?day_number=0", "greater than or equal to 1"),
        ("/benchmarks?day=3", "must be among target_band, starting_skill, day_number, success_percentile, population"),
        ("/health?verbose=1", "parameters must be among lenient (got 'verbose')"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(path: str, says: str, api: httpx.Client) -> None:
    answer = api.get(path)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_messages_are_those_of_the_context(api: httpx.Client) -> None:
    answer = api.get("/users/me/messages", params={"context": "weekly_report"}).json()
    assert answer["as_of"] == "2025-03-12T12:00:00Z"
    assert [message["text"] for message in answer["messages"]] == [
        "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8.",
        "Your cohort is averaging 12 tasks. You're at 8. Catch up?",
        "Top 10% of your cohort completed 22 tasks. You're at 8.",
    ]
    first = answer["messages"][0]
    assert (first["type"], first["metric"], first["position"]) == ("success_benchmark", "tasks_completed", "behind")
    assert (first["user_value"], first["figure"], first["figure_as_of"]) == (8, 15, "2025-03-01T00:00:00Z")
    assert (first["tone"], first["priority"]) == ("neutral", "high")


def test_the_app_may_know_the_own_figure_newer(api: httpx.Client) -> None:
    answer = api.get("/users/me/messages", params={"context": "daily_dashboard", "tasks_completed": 17}).json()
    assert [message["text"] for message in answer["messages"]] == [
        "Great progress! Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 17! 🎯"
    ]


@pytest.mark.parametrize(
    ("own", "status"),
    [
        ({"current_streak": 6}, "active"),
        ({"tasks_completed": 9}, "active"),
        ({"current_streak": 0}, "broken"),
        ({"tasks_completed": 8}, "at_risk"),
    ],
    ids=str,
)
def test_more_than_the_pipeline_knows_of_means_practice_since(
    own: dict[str, float], status: str, reader: GhostReader
) -> None:
    inputs = reader.inputs()
    at_risk = inputs.user("me").with_columns(streak_status=pl.lit("at_risk"))
    assert with_own(at_risk, own, inputs.as_of)["streak_status"].to_list() == [status]


def test_practice_that_only_the_app_knows_of_is_no_silence(reader: GhostReader) -> None:
    assert reader.messages("x1", "after_inactivity").messages
    assert reader.messages("x1", "after_inactivity", own={"tasks_completed": 1}).messages == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tasks_completed", -1),
        ("tasks_completed", 2.5),
        ("practice_minutes", float("nan")),
        ("practice_minutes", float("inf")),
        ("days_practiced", 8),
        ("height", 1),
    ],
)
def test_an_own_value_that_cannot_be_is_refused(name: str, value: float, reader: GhostReader) -> None:
    with pytest.raises(UnknownArgumentError, match=name):
        reader.messages("me", "weekly_report", own={name: value})


@pytest.mark.parametrize(("base", "rank"), [("cohort", 35), ("global", None)], ids=["cohort", "no day before"])
def test_a_rank_is_relative_to_its_base(base: str, rank: int | None, api: httpx.Client) -> None:
    answer = api.get("/users/me/percentile", params={"metric": "tasks_completed", "base": base}).json()
    assert (answer["percentile"], answer["base"], answer["as_of"]) == (rank, base, "2025-03-12T12:00:00Z")


def test_benchmarks_can_be_narrowed_down(api: httpx.Client) -> None:
    wanted = {"target_band": 7.5, "starting_skill": 6.0, "day_number": 12, "success_percentile": 25}
    (row,) = api.get("/benchmarks", params=wanted).json()
    assert (row["population"], row["avg_tasks_completed"], row["avg_practice_minutes"]) == ("interval", 15, 200)
    assert len(api.get("/benchmarks").json()) == 270
    assert len(api.get("/benchmarks", params={"population": "at_least"}).json()) == 540
    nothing = api.get("/benchmarks", params={"target_band": 6.3})
    assert (nothing.json(), nothing.headers["ghost-as-of"], nothing.headers["ghost-stale"]) == (
        [],
        "2025-03-01T00:00:00Z",
        "false",
    )


def test_health_names_every_published_table_and_its_limit(api: httpx.Client) -> None:
    answer = api.get("/health").json()
    assert answer["status"] == "ok"
    tables = {table["table"]: table for table in answer["tables"]}
    assert tables["user_ghost_stats"]["max_age_hours"] == 2
    assert tables["ghost_benchmarks"] == {
        "table": "ghost_benchmarks",
        "as_of": "2025-03-01T00:00:00Z",
        "max_age_hours": 840,
        "stale": False,
    }


def test_health_has_no_counts(api: httpx.Client) -> None:
    answer = api.get("/health").json()
    assert all(set(table) == {"table", "as_of", "max_age_hours", "stale"} for table in answer["tables"])


def test_health_reads_and_hashes_nothing_for_a_request(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read = create_autospec(PublishedDatabase.table_info, side_effect=PublishedDatabase.table_info)
    hashed = create_autospec(differing_files, side_effect=differing_files)
    monkeypatch.setattr(PublishedDatabase, "table_info", read)
    monkeypatch.setattr(service, "differing_files", hashed)
    monkeypatch.setattr(service, "CHECK_SECONDS", 3_600)
    with served(published) as client:
        assert {client.get("/health").status_code for _ in range(20)} == {200}
    assert (read.call_count, hashed.call_count) == (1, 1)


def test_health_says_what_is_stale(published: Settings) -> None:
    with served(published, AS_OF + timedelta(days=36)) as late:
        strict, lenient = late.get("/health"), late.get("/health?lenient=true")
    assert (strict.status_code, lenient.status_code) == (503, 200)
    answer = strict.json()
    assert answer == lenient.json()
    assert answer["status"] == "stale"
    stale = {table["table"] for table in answer["tables"] if table["stale"]}
    assert {"user_ghost_stats", "cohort_ghost_release"} <= stale
    assert "ghost_benchmarks" in stale


def test_before_the_first_publication_nothing_is_claimed(tmp_path: Path) -> None:
    with served(settings(tmp_path)) as empty:
        for path in ("/health", "/health?lenient=true"):
            health = empty.get(path)
            assert (health.status_code, health.json()["status"]) == (503, "unpublished")
        for path in ("/cohort/me/ghost-data", "/users/me/messages?context=weekly_report", "/benchmarks"):
            answer = empty.get(path)
            assert (answer.status_code, list(answer.json())) == (503, ["detail"])


def test_a_publication_is_followed_without_a_restart(tmp_path: Path) -> None:
    of = settings(tmp_path / "data", make_source(tmp_path / "source", typists=False))
    materialize(of, AS_OF)
    with served(of) as client:
        assert client.get("/cohort/me/ghost-data").json()["user_stats"]["tasks_completed"] == 8
        materialize(of, AS_OF + timedelta(hours=1))
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            answer = client.get("/cohort/me/ghost-data")
            if answer.headers["ghost-as-of"] == "2025-03-12T13:00:00Z":
                break
        else:
            pytest.fail("the new publication was not taken in")
        assert answer.json()["user_stats"]["tasks_completed"] == 9
        assert answer.json()["cohort_comparison"]["avg_tasks_completed"] == 12


def test_a_damaged_publication_leaves_the_answers_before(tmp_path: Path) -> None:
    of = settings(tmp_path / "data", make_source(tmp_path / "source", typists=False))
    materialize(of, AS_OF)
    with served(of) as client:
        damaged = of.local / "damaged"
        damaged.write_bytes(b"not a database")
        damaged.replace(of.local / "ghost.duckdb")
        for path in (
            "/cohort/me/ghost-data",
            "/users/me/messages?context=weekly_report",
            "/users/me/percentile?metric=streak",
            "/benchmarks",
            "/health?lenient=true",
            "/users/me/keyboards",
        ):
            assert client.get(path).status_code == 200, path
        assert client.get("/cohort/me/ghost-data").json() == EXAMPLE


def test_what_cannot_be_read_from_the_start_names_no_path(tmp_path: Path) -> None:
    of = settings(tmp_path)
    (of.local / "ghost.duckdb").write_bytes(b"not a database")
    with served(of) as client:
        answer = client.get("/users/me/percentile?metric=streak")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "the published data cannot be read; the reason is in the server's log"}
    assert str(tmp_path) not in answer.text


def test_a_withheld_cohort_reads_like_a_missing_one(tmp_path: Path) -> None:
    source = make_source(tmp_path / "source", typists=False)
    users = pl.read_parquet(source / "users.parquet")
    few = pl.col("user_id").is_in(["me", *(f"m{number:02}" for number in range(1, 9))])
    users.with_columns(cohort_id=pl.when(few).then("cohort_id")).write_parquet(source / "users.parquet")
    of = settings(tmp_path / "data", source)
    materialize(of, AS_OF)
    reader = GhostReader(of)
    ledger = Lake(of.lake).scan(COHORT_GHOST_RELEASE, [Hour.ending_at(AS_OF)]).collect()
    assert ledger["suppressed_reason"].to_list() == ["too_few_members"]
    answer = reader.ghost_data("me", extended=True)
    assert answer.suppressed
    assert answer.cohort_comparison.model_dump() == {
        "cohort_size": 0,
        "avg_tasks_completed": None,
        "avg_tasks_this_week": None,
        "user_percentile": None,
        "message": None,
    }
    assert reader.percentile("me", "tasks_completed").percentile is None


def test_an_answer_as_of_an_hour_comes_from_the_lake(published: Settings) -> None:
    reader = GhostReader(published)
    assert reader.ghost_data("me", AS_OF + timedelta(minutes=59)).model_dump() == EXAMPLE
    publish(Lake(published.lake), published.database)
    assert reader.ghost_data("me").model_dump() == EXAMPLE


def test_the_clock_of_the_wall_decides_nothing_but_freshness(published: Settings) -> None:
    with served(published, NOW + timedelta(days=900)) as later:
        assert later.get("/cohort/me/ghost-data").json() == EXAMPLE


def test_a_token_opens_the_own_figures_only(guarded: httpx.Client) -> None:
    assert guarded.get("/cohort/me/ghost-data", headers=bearer("me")).json() == EXAMPLE
    for path in (
        "/cohort/me/ghost-data",
        "/users/me/percentile?metric=streak",
        "/users/me/messages?context=weekly_report",
    ):
        answer = guarded.get(path, headers=bearer("m01"))
        assert answer.status_code == 403
        assert answer.json() == {"detail": "the token is another user's: people see only their own figures"}


def test_who_asks_for_somebody_else_does_not_learn_who_exists(guarded: httpx.Client) -> None:
    known = guarded.get("/cohort/m01/ghost-data", headers=bearer("me"))
    unknown = guarded.get("/cohort/nobody/ghost-data", headers=bearer("me"))
    assert (known.status_code, known.text) == (unknown.status_code, unknown.text)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "no token"),
        ({"Authorization": "Basic bWU6bWU="}, "no token"),
        (bearer("me", seconds=-1), "expired"),
        (bearer("me", key="another key that is long enough too"), "the token is invalid"),
        (bearer("me", key="x" * 64, algorithm="HS512"), "the token is invalid"),
        ({"Authorization": "Bearer not.a.token"}, "the token is invalid"),
        # alg none: {"alg":"none","typ":"JWT"}.{"sub":"me","exp":9999999999}.
        (
            {"Authorization": "Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJtZSIsImV4cCI6OTk5OTk5OTk5OX0."},
            "the token is invalid",
        ),
    ],
)
def test_an_invalid_token_opens_nothing(headers: dict[str, str], says: str, guarded: httpx.Client) -> None:
    answer = guarded.get("/cohort/me/ghost-data", headers=headers)
    assert answer.status_code == 401
    assert says in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_benchmarks_need_a_token_of_anybody(guarded: httpx.Client) -> None:
    assert guarded.get("/benchmarks").status_code == 401
    assert guarded.get("/benchmarks", headers=bearer("me")).status_code == 200
    assert guarded.get("/health").status_code == 200


def test_without_a_key_a_foreign_host_name_is_refused(api: httpx.Client) -> None:
    assert api.get("/cohort/me/ghost-data", headers={"Host": "elsewhere.example"}).status_code == 400
