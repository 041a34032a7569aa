"""Every language-neutral case by its id."""

import json
from pathlib import Path
from typing import Any

import pytest

from ghost_pipeline_tests.conformance.expectation import ERRORS, mismatches
from ghost_pipeline_tests.conformance.world import World

CASES = [
    case
    for area in ("ghost", "ngram")
    for case in json.loads((Path(__file__).parent / f"{area}.json").read_text(encoding="utf-8"))["cases"]
]

NOT_BUILT_YET = {
    "biggest_changes": "n-gram trends",
    "contexts": "messages",
    "display": "messages",
    "error_n": "n-gram queries",
    "format_message": "messages",
    "heat_map": "n-gram queries",
    "history": "the history of summaries",
    "history_of_hour": "the history of summaries",
    "missing_target_counts": "n-gram trends",
    "opening_message": "messages",
    "release": "the release step",
    "response": "the read side",
    "session_summaries": "session summaries",
    "slowest_n": "n-gram queries",
}


def _parameter(case: dict[str, Any]) -> Any:  # noqa: ANN401 - pytest's parameter set has no public name
    operations = {step["call"]["op"] for step in case["steps"] if "call" in step}
    missing = sorted({NOT_BUILT_YET[name] for name in operations if name in NOT_BUILT_YET})
    marks = [pytest.mark.xfail(reason=f"not built yet: {', '.join(missing)}", raises=AttributeError)] if missing else []
    return pytest.param(case, id=f"{case['area']}-{case['id']}", marks=marks)


@pytest.mark.parametrize("case", [_parameter(case) for case in CASES])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    world = World(tmp_path, case)
    named: dict[str, Any] = {}
    for step in case["steps"]:
        if "run" in step:
            world.run(step["run"])
        elif "call" in step:
            expected = dict(step["expect"]) if step["expect"] is not None else None
            if expected and "error" in expected:
                with pytest.raises(ERRORS):
                    world.answer(step["call"])
                continue
            answer = world.answer(step["call"])
            if expected and (other := expected.pop("same_as", None)):
                assert answer == named[other]
            assert not mismatches(answer, expected), case["why"]
            named[step.get("name", "")] = answer
        else:
            ((kind, tables),) = step.items()
            world.change(kind, tables)
