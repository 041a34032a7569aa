"""The lock file pins every package by version and hash, and names no address."""

import re
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"


def faults(text: str) -> list[str]:
    """What is wrong with the text of a lock file."""
    found = []
    if re.search(r"https?://|file:|--(extra-)?index-url|--find-links", text):
        found.append("names an address")
    entries = re.split(r"\n(?=\S)", text.strip())
    found += [
        f"{entry.splitlines()[0]}: not pinned by version and hash"
        for entry in entries
        if not re.match(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?==\S+", entry) or "--hash=sha256:" not in entry
    ]
    return found


if __name__ == "__main__":
    wrong = faults(LOCK.read_text(encoding="utf-8"))
    sys.exit("\n".join(f"{LOCK.name}: {fault}" for fault in wrong) or 0)
