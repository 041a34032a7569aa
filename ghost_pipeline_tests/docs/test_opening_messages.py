import re

import pytest

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.opening_messages import QUERIES, Proof, opening_messages_page, proofs
from ghost_pipeline_tests.docs.pages import DOCS

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def proved(demo: Settings) -> list[Proof]:
    return proofs(demo)


@pytest.mark.parametrize("number", range(len(QUERIES)), ids=QUERIES)
def test_a_sentence_says_what_its_query_gives(number: int, proved: list[Proof]) -> None:
    proof = proved[number]
    (row,) = proof.rows.to_dicts()
    said = [float(one) for one in re.findall(r"\d+(?:\.\d+)?", proof.sentence)]
    for name in {"figure", "own", "band", "day", "threshold"} & row.keys():
        assert round(float(row[name]) + 1e-9, 1) in said, f"{name} in {proof.sentence}"


def test_the_page_shows_them(demo: Settings) -> None:
    assert (DOCS / "opening_messages.md").read_text(encoding="utf-8") == opening_messages_page(demo), "run `make docs`"
