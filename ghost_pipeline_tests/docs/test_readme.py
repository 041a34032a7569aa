"""What the README shows is what its commands print."""

import re
import shlex

import pytest

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.pages import DOCS
from ghost_pipeline_tests.running import run

README = (DOCS.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_query_prints_what_the_readme_shows(demo: Settings) -> None:
    block = r"^```\n\$ (\.venv/bin/ghost-pipeline query .*?)\n(day_number.*?)```"
    (shown,) = re.findall(block, README, re.MULTILINE | re.DOTALL)
    arguments = shlex.split(shown[0])[1:]
    done = run(arguments, demo.local)
    assert done.stdout == shown[1]


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS.parent / "data" / "README.md", *DOCS.rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)`?", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_module_that_a_page_names_exists() -> None:
    places = [DOCS.parent, DOCS.parent / "ghost_pipeline", DOCS.parent / "ghost_pipeline_tests"]
    for page in (DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *DOCS.rglob("*.md")):
        for module in re.findall(r"`([\w/]+/[\w/]*\w+\.py)`", page.read_text(encoding="utf-8")):
            assert any((place / module).is_file() for place in places), f"{page}: {module}"


def test_the_list_of_decisions_has_each_by_its_title() -> None:
    pages = sorted((DOCS / "decisions").glob("0*.md"))
    titles = [page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(". ", 1) for page in pages]
    listed = [f"{number}. [{title}]({page.name})" for (number, title), page in zip(titles, pages, strict=True)]
    lines = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"\d+\. ", line)] == listed
