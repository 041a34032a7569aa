"""What a check of `ghost-pipeline doctor` finds."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The weight of a finding."""

    OK = "ok"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    verdict: Verdict
    about: str
    description: str
