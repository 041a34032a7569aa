"""Comparing an answer with what a case expects, as the format of the cases says."""

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ghost_pipeline.errors import ForbiddenError, GhostError, UnknownUserError

TOLERANCE = 1e-9
Row = dict[str, Any]
ERRORS: dict[bool | str, type[Exception] | tuple[type[Exception], ...]] = {
    True: (GhostError, ValueError),
    "not_found": UnknownUserError,
    "forbidden": ForbiddenError,
}


def mismatches(answer: Any, expected: Any) -> list[str]:  # noqa: ANN401 - as wide as JSON
    """What differs; empty where the answer is as expected."""
    if expected is None:
        return [] if answer in (None, []) else [f"expected nothing, got {answer}"]
    found = []
    for key, value in expected.items():
        match key:
            case "rows":
                found += _ordered(answer, value)
            case "rows_any_order":
                found += _any_order(answer, value)
            case "contains":
                found += _contains(answer, value, expected["key"])
            case "row_count":
                found += [] if len(answer) == value else [f"expected {value} rows, got {len(answer)}"]
            case "not_null":
                found += [f"{name} is null" for name in value if answer[name] is None]
            case "key" | "same_as":
                pass
            case _:
                if answer is None:
                    return [f"expected {expected}, got nothing"]
                found += [] if _equal(answer.get(key), value) else [f"{key}: expected {value}, got {answer.get(key)}"]
    return found


def _ordered(answer: list[Row], expected: list[Row]) -> list[str]:
    if len(answer) != len(expected):
        return [f"expected {len(expected)} rows, got {answer}"]
    return [
        f"row {i}: expected {e}, got {a}"
        for i, (a, e) in enumerate(zip(answer, expected, strict=True))
        if not _matches(a, e)
    ]


def _any_order(answer: list[Row], expected: list[Row]) -> list[str]:
    left = list(answer)
    missing = []
    for row in expected:
        hit = next((candidate for candidate in left if _matches(candidate, row)), None)
        if hit is None:
            missing.append(f"missing {row}")
        else:
            left.remove(hit)
    return [*missing, *(f"unexpected {row}" for row in left)]


def _contains(answer: list[Row], expected: list[Row], key: list[str]) -> list[str]:
    found = []
    for row in expected:
        there = [name for name in key if name in row]
        hits = [a for a in answer if all(_equal(a.get(name), row[name]) for name in there)]
        if len(hits) != 1 or not _matches(hits[0], row):
            found.append(f"expected exactly one {row}, got {hits}")
    return found


def _matches(answer: Row, expected: Row) -> bool:
    return all(_equal(answer.get(name), value) for name, value in expected.items())


def _equal(answer: Any, expected: Any) -> bool:  # noqa: ANN401 - as wide as JSON
    if isinstance(expected, dict):
        return isinstance(answer, dict) and _matches(answer, expected)
    if expected is None or isinstance(expected, bool) or isinstance(answer, bool):
        return answer is expected
    if isinstance(answer, datetime):
        return answer == datetime.fromisoformat(str(expected))
    if isinstance(answer, date):
        return bool(answer.isoformat() == expected)
    if isinstance(answer, int | float | Decimal) and isinstance(expected, int | float):
        return math.isclose(float(answer), expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(answer == expected)
