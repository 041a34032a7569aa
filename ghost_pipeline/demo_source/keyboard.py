"""The geometry of a QWERTY keyboard: how hard a key is, and which one is hit instead."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghost_pipeline.demo_source.arrays import Floats, Ints
from ghost_pipeline.demo_source.draws import Draws

_BACKSPACE = "\b"
PAST_END = "\0"
"""A key in a session's text that is pressed after its last character."""

BACKSPACE_CODE = 1
_KEY_ROWS = ("qwertyuiop", "asdfghjkl;", "zxcvbnm,./")
_KEY_STAGGER = (0.0, 0.25, 0.75)
_FINGERS = (0, 1, 2, 3, 3, 4, 4, 5, 6, 7)
_LEFT_HAND_FINGERS = 4
_REACH = 2.0
"""Squared distance in keys within which a finger goes astray."""


@dataclass(frozen=True)
class Keys:
    """The characters of the built-in sentences, and what the keyboard makes of them."""

    characters: tuple[str, ...]
    """By code; codes 0 and 1 are the end of a text and backspace."""
    sentences: Ints
    """Codes of all sentences, each with a space after it, then one end of a text."""
    begins: Ints
    lengths: Ints
    """Of each sentence with its space, then of the end of a text."""
    effort: Floats
    """[key before, key]: time relative to a key of ordinary difficulty."""
    neighbours: Ints
    """[key, 0..5]: what is hit instead, repeated to fill the row."""

    @classmethod
    def of(cls, draws: Draws, sentences: Sequence[str]) -> "Keys":
        """Build the table of keys for some sentences."""
        characters = (
            PAST_END,
            _BACKSPACE,
            *sorted(set("".join(sentences)) | set(" abcdefghijklmnopqrstuvwxyz,.;/")),
        )
        code = {character: number for number, character in enumerate(characters)}
        pieces = [*(sentence + " " for sentence in sentences), PAST_END]
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        effort = np.array([[_effort(before, key) for key in characters] for before in characters])
        return cls(
            characters=characters,
            sentences=np.array([code[character] for character in "".join(pieces)], dtype=np.int64),
            begins=np.cumsum(lengths) - lengths,
            lengths=lengths,
            effort=effort * draws.spread(0.08, effort.size).reshape(effort.shape),
            neighbours=np.array([[code[other] for other in _hit_instead(key)] for key in characters]),
        )


def _place(character: str) -> tuple[int, float, int] | None:
    """Return row, horizontal position and finger of a key; None for one that no single finger of a row types."""
    for row, keys in enumerate(_KEY_ROWS):
        column = keys.find(character.lower())
        if column >= 0:
            return row, column + _KEY_STAGGER[row], _FINGERS[column]
    return None


def _effort(before: str, key: str) -> float:
    here, there = _place(key), _place(before)
    effort = 1.55 if key.isupper() else 1.0
    if here is None:
        return effort * 0.85
    row, _, finger = here
    effort *= (1.06, 0.96, 1.12)[row] * (1.18, 1.05, 0.97, 0.93, 0.93, 0.97, 1.05, 1.15)[finger]
    if not key.isalpha():
        effort *= 1.15
    if there is None:
        return effort
    if before.lower() == key.lower():
        return effort * 0.82
    if there[2] == finger:
        return effort * 1.32
    same_hand = (there[2] < _LEFT_HAND_FINGERS) == (finger < _LEFT_HAND_FINGERS)
    return effort * ((1.04 + 0.07 * abs(there[0] - row)) if same_hand else 0.92)


def _hit_instead(key: str) -> list[str]:
    """Return six keys around `key` on a QWERTY keyboard, the nearest ones repeated."""
    here = _place(key)
    if here is None:
        return list("bnvmcb") if key == " " else [" "] * 6
    row, across, _ = here
    near: list[tuple[float, str]] = []
    for other in "".join(_KEY_ROWS):
        place = _place(other)
        if place is not None and other != key.lower():
            near.append(((place[0] - row) ** 2 + (place[1] - across) ** 2, other))
    around = [other for distance, other in sorted(near) if distance < _REACH][:6]
    wrong = [key.lower(), *around] if key.isupper() else around
    return (wrong * 6)[:6]
