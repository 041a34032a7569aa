"""The parts of `docs/reading.md` that follow from the code, between marks in a page written by hand."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ghost_pipeline_tests.clients.matrix import lines_table, matrix_table
from ghost_pipeline_tests.docs.questions import questions_table

PAGE = Path(__file__).parent.parent.parent / "docs" / "reading.md"
PARTS: dict[str, Callable[[], Iterable[str]]] = {
    "lines": lines_table,
    "matrix": matrix_table,
    "questions": questions_table,
}


def reading_page() -> str:
    """The page with its generated parts written again.

    Raises:
        KeyError: the page has a mark that names no part.

    """

    def written(found: re.Match[str]) -> str:
        return "\n".join((found[1], "", *PARTS[found[2]](), "", found[3]))

    page = PAGE.read_text(encoding="utf-8")
    return re.sub(r"(<!-- generated: (\w+) -->).*?(<!-- end -->)", written, page, flags=re.DOTALL)
