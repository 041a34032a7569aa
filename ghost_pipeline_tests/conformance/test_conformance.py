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


@pytest.mark.parametrize("case", CASES, ids=[f"{case['area']}-{case['id']}" for case in CASES])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    world = World(tmp_path, case)
    named: dict[str, Any] = {}
    for step in case["steps"]:
        if "run" in step:
            world.run(step["run"])
        elif "call" in step:
            expected = dict(step["expect"]) if step["expect"] is not None else None
            if expected and "error" in expected:
                with pytest.raises(ERRORS[expected["error"]]):
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
