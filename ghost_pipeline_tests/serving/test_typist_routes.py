"""The HTTP API about typists: the same answers as `GhostReader`, and clear refusals."""

import json
from pathlib import Path
from urllib.parse import quote

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.domain.ngrams.ngram_queries import heat_map
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.json_rows import as_json_rows
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.serving.worlds import AS_OF, TYPED_AT, bearer, make_source, materialize, settings

BOARD = "/ngrams/me/k1"


def test_the_heat_map_is_that_of_the_summaries_in_the_lake(published: Settings, reader: GhostReader) -> None:
    summaries = Lake(published.lake).scan(NGRAM_SPEED_SUMMARIES, [Hour.ending_at(AS_OF)])
    expected = heat_map(summaries, "me", "k1").collect()
    assert expected.height > 50
    assert_frame_equal(reader.heatmap("me", "k1"), expected)


def test_the_heat_map_comes_with_its_clock_and_all_columns(api: httpx.Client, reader: GhostReader) -> None:
    answer = api.get(f"{BOARD}/heatmap").json()
    assert (answer["user_id"], answer["keyboard_id"], answer["as_of"]) == ("me", "k1", "2025-03-12T12:00:00Z")
    rows = reader.heatmap("me", "k1")
    assert [row["ngram_text"] for row in answer["rows"]] == rows["ngram_text"].to_list()
    assert list(answer["rows"][0]) == rows.columns
    assert answer["rows"][0]["last_measured"] == "2025-03-12T08:00:00Z"


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({"target_speed_ms": "150"}, {"target_speed_ms": 150.0}),
        ({"ngram_size_filter": "2"}, {"ngram_size_filter": 2}),
        (
            {"exclude_successful": "true", "target_speed_ms": "160"},
            {"exclude_successful": True, "target_speed_ms": 160.0},
        ),
        ({"sort_order": "best_to_worst"}, {"sort_order": "best_to_worst"}),
    ],
)
def test_the_options_of_the_heat_map_are_those_of_the_reader(
    parameters: dict[str, str], options: dict[str, object], api: httpx.Client, reader: GhostReader
) -> None:
    got = [row["ngram_text"] for row in api.get(f"{BOARD}/heatmap", params=parameters).json()["rows"]]
    expected = reader.heatmap("me", "k1", **options)["ngram_text"].to_list()  # type: ignore[arg-type]
    assert got == expected
    assert got != reader.heatmap("me", "k1")["ngram_text"].to_list() or "target_speed_ms" in parameters


def test_a_target_of_ones_own_recolours(api: httpx.Client) -> None:
    easy = api.get(f"{BOARD}/heatmap", params={"target_speed_ms": 5000}).json()["rows"]
    assert {row["color_code"] for row in easy} == {"#90EE90"}
    hard = api.get(f"{BOARD}/heatmap", params={"target_speed_ms": 1}).json()["rows"]
    assert {(row["performance_category"], row["color_code"]) for row in hard} == {("grey", "#D3D3D3")}


def test_the_slowest_are_filtered_before_they_are_limited(api: httpx.Client, reader: GhostReader) -> None:
    parameters: dict[str, str | int] = {"n": 3, "ngram_sizes": "2,3", "included_keys": "thequick", "min_occurrences": 2}
    rows = api.get(f"{BOARD}/slowest", params=parameters).json()["rows"]
    assert 0 < len(rows) <= 3
    assert {row["ngram_size"] for row in rows} <= {2, 3}
    assert all(set(row["ngram_text"]) <= set("thequick") for row in rows)
    assert rows == json.loads(
        as_json_rows(reader.slowest("me", "k1", 3, ngram_sizes=[2, 3], included_keys="thequick", min_occurrences=2)),
    )


def test_keys_in_decomposed_form_are_not_taken_apart(api: httpx.Client) -> None:
    # An accent that stands alone would leave a bare e among the keys.
    asked: dict[str, str | int] = {"n": 100, "min_occurrences": 1, "included_keys": "the\u0301"}
    rows = api.get(f"{BOARD}/slowest", params=asked).json()["rows"]
    assert sorted(row["ngram_text"] for row in rows) == ["h", "t", "th"]
    assert api.get(f"{BOARD}/slowest", params={**asked, "included_keys": "th\u00e9"}).json()["rows"] == rows


@pytest.mark.parametrize(
    ("path", "longest"), [("slowest?included_keys=", 200), ("errors?included_keys=", 200), ("trend?ngram_text=", 50)]
)
def test_text_in_decomposed_form_may_be_as_long_as_composed(path: str, longest: int, api: httpx.Client) -> None:
    decomposed = quote("e\u0301")
    assert api.get(f"{BOARD}/{path}{decomposed * longest}").status_code == 200
    assert api.get(f"{BOARD}/{path}{decomposed * (longest + 1)}").status_code == 422


def test_errors_count_over_the_newest_sessions(api: httpx.Client) -> None:
    everything = api.get(f"{BOARD}/errors", params={"n": 100, "ngram_sizes": "1"}).json()["rows"]
    newest = api.get(f"{BOARD}/errors", params={"n": 100, "ngram_sizes": "1", "lookback_distance": 1}).json()["rows"]
    assert sum(row["error_count"] for row in everything) == 4 * sum(row["error_count"] for row in newest) > 0


def test_no_size_is_no_row_and_every_size_is_the_default(api: httpx.Client) -> None:
    assert api.get(f"{BOARD}/slowest", params={"ngram_sizes": "", "n": 100}).json()["rows"] == []
    sizes = {row["ngram_size"] for row in api.get(f"{BOARD}/errors", params={"n": 1000}).json()["rows"]}
    assert len(sizes) > 1


def test_a_trend_tells_the_states_and_how_fast_it_is_learnt(api: httpx.Client, reader: GhostReader) -> None:
    answer = api.get(f"{BOARD}/trend", params={"ngram_text": "he"}).json()
    assert [row["ngram_text"] for row in answer["rows"]] == ["he"] * len(answer["rows"])
    assert answer["rows"] == json.loads(as_json_rows(reader.trend("me", "k1", "he")))
    (rate,) = answer["learning_rates"]
    assert rate["best_ms"] == min(row["decaying_average_ms"] for row in answer["rows"])


def test_progress_is_oldest_session_first(api: httpx.Client) -> None:
    answer = api.get(f"{BOARD}/progress", params={"target_speed_ms": 150, "n": 5}).json()
    assert [row["session_id"] for row in answer["rows"]] == ["s0", "s1", "s2", "s3"]
    misses = [row["missing"] for row in answer["rows"]]
    assert misses == sorted(misses, reverse=True)
    assert misses[0] > misses[-1]
    costs = [row["impact_ms"] for row in answer["practice_impact"]]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == 5
    assert {row["keystroke_char"] for row in answer["mistake_pairs"]} == {"#"}


def test_keyboards_have_their_names_and_targets(api: httpx.Client) -> None:
    (keyboard,) = api.get("/users/me/keyboards").json()["rows"]
    assert (keyboard["keyboard_id"], keyboard["keyboard_name"]) == ("k1", "Desk")
    assert keyboard["target_ms_per_keystroke"] == 600
    assert keyboard["ngrams"] == len(api.get(f"{BOARD}/heatmap").json()["rows"])


def test_a_reader_that_is_held_stays_with_its_publication(tmp_path: Path) -> None:
    of = settings(tmp_path / "data", make_source(tmp_path / "source"))
    materialize(of, TYPED_AT[0], domains={Domain.NGRAMS})
    reader = GhostReader(of)
    held = reader.pinned()
    assert held.heatmap("me", "k1").height > 0
    materialize(of, TYPED_AT[1], domains={Domain.NGRAMS})
    assert (held.ngrams_as_of(), reader.ngrams_as_of()) == TYPED_AT[:2]
    before, after = (max(one.heatmap("me", "k1")["last_measured"].to_list()) for one in (held, reader))
    assert before < after


@pytest.mark.parametrize("path", ["heatmap", "slowest", "errors", "trend?ngram_text=th", "progress"])
@pytest.mark.parametrize(
    ("board", "says"),
    [
        ("/ngrams/me/k9", "unknown keyboard 'k9' of user 'me' (as of 2025-03-12T12:00Z)"),
        ("/ngrams/m01/k1", "unknown keyboard 'k1' of user 'm01' (as of 2025-03-12T12:00Z)"),
        ("/ngrams/mee/k1", "unknown user 'mee' (as of 2025-03-12T12:00Z)"),
    ],
)
def test_an_unknown_keyboard_or_user_is_not_found_and_no_other_id_is_told(
    path: str, board: str, says: str, api: httpx.Client
) -> None:
    answer = api.get(f"{board}/{path}")
    assert (answer.status_code, answer.json()) == (404, {"detail": says})


def test_the_keyboards_of_an_unknown_user_are_not_found_and_a_learner_has_none(api: httpx.Client) -> None:
    assert api.get("/users/mee/keyboards").status_code == 404
    learner = api.get("/users/m01/keyboards")
    assert (learner.status_code, learner.json()["rows"]) == (200, [])


def test_what_no_row_passes_is_an_empty_answer(api: httpx.Client) -> None:
    assert api.get(f"{BOARD}/slowest?n=0").json()["rows"] == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("heatmap?sort_order=sideways", "sort_order must be worst_to_best or best_to_worst"),
        ("heatmap?target_speed_ms=0", "greater than 0"),
        ("heatmap?target_speed_ms=nan", "finite number"),
        ("heatmap?ngram_size_filter=21", "less than or equal to 20"),
        ("slowest?ngram_sizes=0", "should match pattern"),
        ("slowest?ngram_sizes=2;3", "pattern"),
        ("slowest?n=ten", "valid integer"),
        ("trend", "ngram_text: Field required"),
        (f"trend?ngram_text={'x' * 51}", "at most 50"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(path: str, says: str, api: httpx.Client) -> None:
    answer = api.get(f"{BOARD}/{path}")
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("text", ["'; DROP TABLE ngram_speed_summaries; --", '"', "%", "\x00", "日本", "e\u0301"])
def test_a_text_is_a_value_and_never_sql(text: str, api: httpx.Client) -> None:
    answer = api.get(f"{BOARD}/trend", params={"ngram_text": text})
    assert (answer.status_code, answer.json()["rows"]) == (200, [])
    assert api.get(f"/ngrams/{quote(text, safe='')}/k1/heatmap").status_code == 404
    assert api.get(f"{BOARD}/heatmap").json()["rows"]


def test_a_token_opens_the_own_keyboards_only(guarded: httpx.Client) -> None:
    for path in ("/users/me/keyboards", *(f"{BOARD}/{name}" for name in ("heatmap", "slowest", "errors", "progress"))):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers=bearer("m01")).status_code == 403
        assert guarded.get(path, headers=bearer("me")).json()["rows"]


@pytest.mark.parametrize("ngram_text", ["th", "q", "zz"])
def test_what_is_read_for_one_ngram_gives_its_rate_among_all(ngram_text: str, reader: GhostReader) -> None:
    every = reader.learning_rates("me", "k1")
    assert_frame_equal(reader.learning_rates("me", "k1", ngram_text), every.filter(pl.col("ngram_text") == ngram_text))
