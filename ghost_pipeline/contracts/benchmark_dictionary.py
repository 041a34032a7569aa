"""The JSON Schema of `ghost_benchmarks.json`, the nested form of the benchmarks (G5.4)."""

from typing import Any

from ghost_pipeline.contracts.raw import MODULE_TYPES

METRICS = (
    "tasks_completed",
    "practice_minutes",
    *(f"{module}_tasks" for module in MODULE_TYPES),
    "mock_tests",
    "streak_avg",
)


def json_schema() -> dict[str, Any]:
    """Bands, starting skills, days, metrics; a cell or a day without enough achievers is absent."""
    figures = {
        "type": "object",
        "description": "Means over the achievers, rounded half away from zero to two decimals",
        "properties": {name: {"type": "number", "minimum": 0} for name in METRICS},
        "required": list(METRICS),
        "additionalProperties": False,
    }
    days = _level(r"^day_[1-9]\d*$", "Day of the journey, from 1", figures)
    starts = _level(r"^starting_skill_\d\.\d$", "Lower end of the half band of the diagnostic score", days)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ghost benchmarks",
        **_level(r"^band_\d\.\d_achievers$", "People whose final score lies in [band, band + 0.5)", starts),
    }


def _level(pattern: str, description: str, below: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "patternProperties": {pattern: below},
        "additionalProperties": False,
    }
