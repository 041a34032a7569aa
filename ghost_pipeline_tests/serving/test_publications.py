"""Which publication a running server answers from: damaged, missing, unwritable, with history that is gone."""

import logging
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import httpx
import pytest

from ghost_pipeline.serving.keyed_rows import KeyedRows
from ghost_pipeline.serving.publication_watcher import Publication
from ghost_pipeline.serving.reader import GhostReader
from ghost_pipeline.serving.responses import EXAMPLE
from ghost_pipeline.serving.service import Service
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.serving.worlds import NOW, served, settings

PATHS = (
    "/cohort/me/ghost-data",
    "/cohort/me/ghost-data?extended=true",
    "/users/me/messages?context=weekly_report",
    "/users/me/percentile?metric=streak",
    "/users/me/keyboards",
    "/benchmarks",
    "/health",
    "/ngrams/me/k1/heatmap",
    "/ngrams/me/k1/errors",
    "/ngrams/me/k1/trend?ngram_text=th",
    "/ngrams/me/k1/progress",
)


@pytest.fixture
def live(published: Settings, tmp_path: Path) -> Settings:
    """A data folder of its own with the publication."""
    shutil.copy(published.local / "ghost.duckdb", tmp_path / "ghost.duckdb")
    return settings(tmp_path)


def _changed(live: Settings, *statements: str) -> None:
    """Publish a copy of the file in which some statements were run, as another publication."""
    staged = live.local / "staged"
    shutil.copy(live.local / "ghost.duckdb", staged)
    with duckdb.connect(staged) as connection:
        for statement in ("UPDATE publication SET id = substr(md5(id), 1, 20)", *statements):
            connection.execute(statement)
    staged.replace(live.local / "ghost.duckdb")


def _later(live: Settings) -> None:
    """Publish the same an hour later."""
    _changed(live, "UPDATE table_info SET as_of = as_of + INTERVAL 1 HOUR")


def test_users_are_read_by_key_after_the_first_refresh(live: Settings) -> None:
    service = Service(live, lambda: NOW)
    service.start()
    first = service.served
    service.refresh()
    second = service.served
    service.refresh()
    assert first.rows is None
    assert second.rows is not None
    assert service.served is second


def test_a_request_that_failed_meanwhile_does_not_undo_a_refresh(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(live, lambda: NOW)
    service.refresh()
    failed = service.served
    _later(live)
    pinned = GhostReader.pinned

    def refreshed_first(reader: GhostReader) -> GhostReader:
        monkeypatch.setattr(GhostReader, "pinned", pinned)
        service.refresh()
        return pinned(reader)

    monkeypatch.setattr(GhostReader, "pinned", refreshed_first)
    assert service.serve_newest(failed)
    assert service.served.as_of == failed.as_of + timedelta(hours=1)
    assert service.served.rows is not None


def test_a_refresh_does_not_go_back_behind_what_a_failed_request_has_found(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(live, lambda: NOW)
    service.start()
    build = KeyedRows.build

    def failing_meanwhile(publication: Publication, stopped: Callable[[], bool]) -> KeyedRows | None:
        monkeypatch.setattr(KeyedRows, "build", build)
        _later(live)
        assert service.serve_newest(service.served)
        return build(publication, stopped)

    monkeypatch.setattr(KeyedRows, "build", failing_meanwhile)
    before = service.served.as_of
    service.refresh()
    assert service.served.as_of == before + timedelta(hours=1)
    service.refresh()
    assert service.served.rows is not None


def test_a_publication_is_served_as_a_whole_when_its_users_can_be_read(live: Settings) -> None:
    service = Service(live, lambda: NOW)
    service.refresh()
    before = service.served
    _later(live)
    assert service.served is before
    service.refresh()
    assert service.served.as_of == before.as_of + timedelta(hours=1)
    assert service.served.reader.ngrams_as_of() == service.served.as_of


def test_a_person_whom_a_publication_lacks_is_unknown(live: Settings) -> None:
    service = Service(live, lambda: NOW)
    service.refresh()
    before = service.served
    _changed(live, "DELETE FROM user_ghost_stats WHERE user_id = 'me'")
    service.refresh()
    assert before.rows is not None
    assert service.served.rows is not None
    assert before.rows.row("me") is not None
    assert service.served.rows.row("me") is None


def test_a_publication_whose_users_cannot_be_read_is_not_served(
    live: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(live, lambda: NOW)
    service.refresh()
    before = service.served
    _changed(live, "DROP TABLE user_ghost_stats")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            service.refresh()
    assert service.served is before
    (told,) = caplog.messages
    assert "user_ghost_stats: cannot be read" in told
    assert "answers continue from the previous publication" in told


def test_a_damaged_file_is_told_once(live: Settings, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(live, lambda: NOW)
    service.refresh()
    (live.local / "damaged").write_bytes(b"not a database")
    (live.local / "damaged").replace(live.local / "ghost.duckdb")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            service.refresh()
    assert len(caplog.messages) == 1


def test_without_the_file_the_answers_go_on(live: Settings) -> None:
    with served(live) as client:
        # The health tells that it is gone.
        paths = [path for path in PATHS if path != "/health"]
        before = [_answer(client, path) for path in paths]
        (live.local / "ghost.duckdb").unlink()
        assert [_answer(client, path) for path in paths] == before
        assert _answer(client, "/health")


def test_users_that_cannot_be_written_are_read_from_the_database(
    live: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(live.local / "missing"))
    service = Service(live, lambda: NOW)
    service.refresh()
    assert service.served.rows is None
    assert "missing: the users of the publication cannot be written" in caplog.text
    with served(live) as client:
        assert client.get("/cohort/me/ghost-data").json() == EXAMPLE
        assert client.get("/cohort/nobody/ghost-data").status_code == 404


def test_a_request_for_history_that_is_gone_is_answered_from_the_newest_publication(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server would find the newer publication by itself a second later.
    monkeypatch.setattr("ghost_pipeline.serving.app.POLL_SECONDS", 3600)
    history, moved = live.local / "history.parquet", live.local / "newer.parquet"
    _changed(
        live,
        f"COPY ngram_speed_summary_history TO '{history}'",
        _view(history),
    )
    with served(live) as client:
        before = _answer(client, "/ngrams/me/k1/trend?ngram_text=th")
        shutil.copy(history, moved)
        _changed(live, _view(moved))
        history.unlink()
        assert _answer(client, "/ngrams/me/k1/trend?ngram_text=th") == before


def _view(history: Path) -> str:
    """History as it is published: a view over files beside the database."""
    return f"CREATE OR REPLACE VIEW ngram_speed_summary_history AS FROM '{history}'"


def _answer(client: httpx.Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.text
