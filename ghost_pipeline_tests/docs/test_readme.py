"""What the README shows is what its commands print."""

import re
import shlex
from pathlib import Path

import pytest

from ghost_pipeline.assets.achievers import ACHIEVER_STEPS
from ghost_pipeline.assets.raw import RAW_STEPS
from ghost_pipeline.assets.step import Resources
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.generated import DEMO_AS_OF, generate_source
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.storage.published import publish
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.docs.pages import DOCS
from ghost_pipeline_tests.running import run

README = (DOCS.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ghost half of the demo, published."""
    data = tmp_path_factory.mktemp("demo")
    generate_source(data / "source", as_of=DEMO_AS_OF)
    settings = Settings.load(source=str(data / "source"), data=data)
    resources = Resources(settings, Lake(settings.lake))
    for step in RAW_STEPS:
        if step.contract.name in {"users", "cohorts", "user_progress"}:
            step.body(resources, Hour.ending_at(DEMO_AS_OF))  # type: ignore[arg-type]
    for step in ACHIEVER_STEPS:
        step.body(resources, Month.newest_complete(DEMO_AS_OF))  # type: ignore[arg-type]
    publish(resources.lake, settings.database)
    return data


def test_the_query_prints_what_the_readme_shows(demo: Path) -> None:
    block = r"^```\n\$ (\.venv/bin/ghost-pipeline query .*?)\n(day_number.*?)```"
    (shown,) = re.findall(block, README, re.MULTILINE | re.DOTALL)
    arguments = shlex.split(shown[0])[1:]
    done = run(arguments, demo)
    assert done.stdout == shown[1]


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS.parent / "data" / "README.md", *DOCS.rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make (\w+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
