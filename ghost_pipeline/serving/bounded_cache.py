"""A cache whose values take a bounded number of bytes together."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar

Value = TypeVar("Value")

ENTRY_BYTES = 1024
"""Counted for each entry beside its value: key, objects around the value, and the allocator's rounding."""


class BoundedCache:
    """Values made on request; the least recently used ones go when there is no room. Safe to use from threads."""

    def __init__(self, most_bytes: int) -> None:
        """Start empty."""
        self._most, self._held = most_bytes, 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """What the values take at present."""
        return self._held

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value for a key, which one caller or several at once make if it is not there.

        Args:
            key: names the value; the same key always names a value of the same type.
            make: makes the value.
            size: bytes that a value takes; one that is larger than the whole cache is not kept.

        """
        with self._lock:
            if found := self._entries.get(key):
                self._entries.move_to_end(key)
                # Only `make` of the same key has put it there.
                return found[0]  # type: ignore[return-value]
        value = make()
        taken = size(value) + ENTRY_BYTES
        with self._lock:
            if key not in self._entries and taken <= self._most:
                self._entries[key] = (value, taken)
                self._held += taken
                while self._held > self._most:
                    self._held -= self._entries.popitem(last=False)[1][1]
        return value

    def clear(self) -> None:
        """Forget every value."""
        with self._lock:
            self._entries.clear()
            self._held = 0
