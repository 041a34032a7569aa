"""The lock files pin every package by version and hash, and name no address."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "deploy/requirements.lock")


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
    wrong = [f"{lock}: {fault}" for lock in LOCKS for fault in faults((ROOT / lock).read_text(encoding="utf-8"))]
    sys.exit("\n".join(wrong) or 0)
