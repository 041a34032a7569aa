"""What typists type, key by key: slips, corrections and the time between keys."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import Flags, Floats, Ints, counting, floor, sum_within
from ghost_pipeline.demo_source.clock import INSTANT, SECOND
from ghost_pipeline.demo_source.draws import Draws
from ghost_pipeline.demo_source.keyboard import BACKSPACE_CODE, PAST_END, Keys
from ghost_pipeline.demo_source.sentences import SENTENCES
from ghost_pipeline.demo_source.typists import Sessions, Typists

_MOST_HELD = 3
"""Right keys after a wrong one, before it is noticed."""

_NO_SLIP, _NEVER_CORRECTED = -2, -1


def type_sessions(draws: Draws, people: Typists, sessions: Sessions) -> tuple[Sessions, pl.DataFrame]:
    """Type every session: returns the sessions with the time of their end, and all keystrokes."""
    keys = Keys.of(draws, SENTENCES)
    size = len(sessions.typist)
    session, text = _texts(draws, keys, size)
    lengths = np.bincount(session, minlength=size)
    index = counting(lengths)
    before = np.where(index == 0, 0, np.roll(text, 1))
    weakness = draws.spread(0.16, len(people.zone) * keys.effort.size).reshape(-1, *keys.effort.shape)
    effort = keys.effort[before, text] * weakness[sessions.typist[session], before, text]
    learnt = people.learning[sessions.typist] * (1.0 - 1.0 / (1.0 + 0.25 * sessions.nth))
    slip = people.carelessness[sessions.typist] * (1.0 - 0.6 * learnt)
    held = _slips(draws, slip[session] * (0.35 + 0.65 * effort) * (text != 0), lengths)
    presses = _presses(draws, keys, text, held)

    owner = session[presses.position]
    count = np.bincount(owner, minlength=size)
    nth = counting(count)
    resuming = np.roll(presses.deleting, 1) & (nth > 0)
    # To notice a slip takes a moment; then the backspaces follow quickly.
    on = effort[presses.position] * np.where(resuming, 1.3, 1.0)
    rhythm = np.where(presses.deleting, np.where(resuming, 0.7, 1.7), on)
    target = people.targets[sessions.typist, sessions.keyboard].astype(np.float64)
    pace = target * people.skill[sessions.typist] * (1.0 + 0.4 * people.learning[sessions.typist] - learnt)
    took = np.maximum(pace[owner] * rhythm * draws.spread(0.22, len(owner)), 25.0)
    took = np.where(nth == 0, draws.between(600.0, 2500.0, len(owner)), took)
    pressed = np.repeat(sessions.start, count) + sum_within(floor(took * 1000.0), count)
    end = pressed[np.cumsum(count) - 1] + SECOND // 5 + draws.below(SECOND, size)

    glyphs = pl.Series(keys.characters)
    frame = pl.DataFrame(
        {
            "session_id": sessions.ids.gather(owner),
            "key_index": pl.Series(nth, dtype=pl.Int32),
            "keystroke_time": pl.Series(pressed).cast(INSTANT),
            "keystroke_char": glyphs.gather(presses.typed),
            "expected_char": glyphs.replace(PAST_END, "").gather(text[presses.position]),
            "text_index": pl.Series(index[presses.position], dtype=pl.Int32),
        },
    )
    return replace(sessions, end=end), frame


def _texts(draws: Draws, keys: Keys, size: int) -> tuple[Ints, Ints]:
    """The sessions' texts, three to five sentences each: session and code of each character."""
    sentences = 3 + draws.below(3, size)
    overshoots = draws.chance(0.015, size)
    pieces = sentences + overshoots
    session = np.repeat(np.arange(size), pieces)
    nth = counting(pieces)
    strides = np.array([1, 3, 7, 9, 11, 13, 17, 19])[draws.below(8, size)]
    piece = (draws.below(len(SENTENCES), size)[session] + nth * strides[session]) % len(SENTENCES)
    piece = np.where(nth == sentences[session], len(SENTENCES), piece)
    # No space follows the last sentence.
    lengths = keys.lengths[piece] - (nth == sentences[session] - 1)
    of_piece = np.repeat(np.arange(len(piece)), lengths)
    return session[of_piece], keys.sentences[keys.begins[piece][of_piece] + counting(lengths)]


def _slips(draws: Draws, chance: Floats, lengths: Ints) -> Ints:
    """For each character: how many keys follow a wrong key before it is corrected.

    Slips keep a distance, so that corrections do not overlap.
    """
    size = len(chance)
    slip = draws.chance(chance, size)
    clear = slip.copy()
    for ahead in range(1, _MOST_HELD + 1):
        clear[ahead:] &= ~slip[:-ahead]
    choice = draws.pick((0.66, 0.12, 0.08, 0.05, 0.09), size)
    left = np.repeat(lengths, lengths) - 1 - counting(lengths)
    held = np.where(choice > _MOST_HELD, _NEVER_CORRECTED, np.minimum(choice, left))
    return np.where(clear, held, _NO_SLIP)


@dataclass(frozen=True)
class _Presses:
    """Keys in the order of pressing."""

    position: Ints
    """In the texts of all sessions, one after the other."""
    typed: Ints
    """Code of the character."""
    deleting: Flags


def _presses(draws: Draws, keys: Keys, text: Ints, held: Ints) -> _Presses:
    """Turn each character of the text into a block of keys: itself, or a slip and its correction.

    A slip that is noticed after k more keys takes 1 + k keys, as many backspaces, and the same keys
    again, all right; the k characters after it are then typed already.
    """
    typed_already = np.zeros(len(text), dtype=np.bool_)
    for ahead in range(1, _MOST_HELD + 1):
        typed_already[ahead:] |= held[:-ahead] >= ahead
    block = np.where(typed_already, 0, np.where(held >= 0, 3 * held + 3, 1))
    at = np.repeat(np.arange(len(text)), block)
    nth, extra = counting(block), np.maximum(held[at], 0)
    again = 2 * extra + 2
    slipped = held[at] != _NO_SLIP
    deleting = slipped & (nth > extra) & (nth < again)
    step = np.where(deleting, again - 1 - nth, np.where(nth >= again, nth - again, nth))
    position = at + step
    expected = text[position]
    hit = keys.neighbours[expected, draws.below(6, len(at))]
    wrong = (slipped & (nth == 0)) | (expected == 0)
    return _Presses(
        position=position,
        typed=np.where(deleting, BACKSPACE_CODE, np.where(wrong, hit, expected)),
        deleting=deleting,
    )
