"""Every language-neutral case by its name, over files of one format, or of all three for some."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from ghost_pipeline_tests.conformance.adapter import Adapter
from ghost_pipeline_tests.conformance.expectation import ERRORS, mismatches
from ghost_pipeline_tests.conformance.expected_failures import EXPECTED_FAILURES
from ghost_pipeline_tests.conformance.source_files import FORMATS
from ghost_pipeline_tests.conformance.world import World

Case = dict[str, Any]
CASES: list[Case] = [
    case
    for file in sorted(Path(__file__).parent.glob("*.json"))
    for case in json.loads(file.read_text(encoding="utf-8"))["cases"]
]
IN_ALL_FORMATS = frozenset({"A55", "B08", "R07", "HM-10", "EH-02", "XT-12", "SS-01", "ID-01"})
"""Cases of rejects, ranks, hours, lists, extraction and shared ids; the others take turns."""


def _asked(case: Case) -> str:
    """The source of a case and all that runs over it: cases for which it is the same may share a world."""
    partitions = [
        step if "call" not in step else [step["call"].get(name) for name in ("as_of", "now", "month", "session_id")]
        for step in case["steps"]
    ]
    return json.dumps([case["area"], case["tables"], case.get("settings"), partitions], sort_keys=True)


def _parameters() -> Iterator[Any]:
    for case in CASES:
        name, has_source = case["id"], bool(case["tables"])
        # By what the case reads and not by its name, so that cases that share a world share its format.
        turn = crc32(json.dumps(case["tables"], sort_keys=True).encode()) % len(FORMATS)
        failure = EXPECTED_FAILURES.get(name)
        for number, file_format in enumerate(FORMATS if has_source else FORMATS[:1]):
            marks = [pytest.mark.xfail(reason=failure, raises=AssertionError, strict=True)] if failure else []
            if has_source and number != turn and name not in IN_ALL_FORMATS:
                marks.append(pytest.mark.long)
            yield pytest.param(case, file_format, id=f"{name}-{file_format}" if has_source else name, marks=marks)


class Worlds:
    """The worlds of the last few cases, which later ones may share."""

    KEPT = 3

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders, self._kept = folders, dict[str, World]()

    def of(self, case: Case, file_format: str) -> tuple[World, bool]:
        """The world of a case, and whether all that the case runs has been run in it."""
        found = self._kept.get(_asked(case) + file_format)
        return (found, True) if found else (World(self._folders.mktemp("world"), case, file_format), False)

    def keep(self, case: Case, file_format: str, world: World) -> None:
        """Let later cases share the world of a case that has run; not one whose source the case has changed."""
        if all({"run", "call"} & step.keys() for step in case["steps"]):
            self._kept[_asked(case) + file_format] = world
            while len(self._kept) > self.KEPT:
                del self._kept[next(iter(self._kept))]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    """The worlds of this module's cases."""
    return Worlds(tmp_path_factory)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no benchmarks: no case looks at the pictures, which take more than half the time of a month."""
    monkeypatch.setattr("ghost_pipeline.pictures.benchmark_curves.benchmark_curves", lambda *_: b"")


@pytest.mark.parametrize(("case", "file_format"), list(_parameters()))
def test_case(case: Case, file_format: str, worlds: Worlds, tmp_path: Path) -> None:
    world, has_run = worlds.of(case, file_format)
    adapter, named = Adapter(world), dict[str, Any]()
    for number, step in enumerate(case["steps"]):
        match step:
            case {"run": key}:
                if not has_run:
                    world.run(key)
            case {"call": call, "expect": {"error": error}}:
                with pytest.raises(ERRORS[error]):
                    adapter.answer(call, tmp_path / str(number))
            case {"call": call, "expect": expected}:
                answer = adapter.answer(call, tmp_path / str(number))
                if expected and (other := expected.get("same_as")):
                    assert answer == named[other], case["why"]
                assert not mismatches(answer, expected), case["why"]
                named[step.get("name", "")] = answer
            case _:
                ((kind, tables),) = step.items()
                world.change(kind, tables)
    worlds.keep(case, file_format, world)


def test_every_expected_failure_is_a_case() -> None:
    assert set(EXPECTED_FAILURES) <= {case["id"] for case in CASES}
