"""The log of the server, as JSON and as text."""

import json
import logging

import pytest

from ghost_pipeline.cli.logs import LOGGERS, configure_logs


@pytest.fixture(autouse=True)
def _loggers_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for attribute in ("handlers", "propagate", "level"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))


def test_json_has_an_object_a_line_with_the_fields_of_a_request(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    fields = {"method": "GET", "route": "/health", "status": 200, "ms": 0.4}
    logging.getLogger("ghost_pipeline.requests").info("GET /health 200 0.4 ms", extra=fields)
    logging.getLogger("ghost_pipeline.serving").error("could not be loaded", exc_info=ValueError("odd"))
    request, failure = map(json.loads, capfd.readouterr().err.splitlines())
    assert request.pop("timestamp").endswith("Z")
    assert request == {
        **fields,
        "message": "GET /health 200 0.4 ms",
        "level": "info",
        "logger": "ghost_pipeline.requests",
    }
    assert failure["level"] == "error"
    assert failure["exception"].endswith("ValueError: odd")


def test_text_has_a_line_with_the_time(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    logging.getLogger("ghost_pipeline.requests").info("GET /health 200 0.4 ms")
    assert capfd.readouterr().err.endswith(" INFO GET /health 200 0.4 ms\n")
