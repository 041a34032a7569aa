"""Replaces a file by versions of it in turn, without end, in a process that is killed at any moment.

It stages and renames as the lake does, and imports nothing else: a process more costs hundredths of a second.
"""

import sys
from itertools import cycle
from pathlib import Path

from ghost_pipeline.lake.atomic import replacing


def rewrite_forever(root: Path, target: Path, ready: Path, *versions: Path) -> None:
    """Write the versions; `ready` is there once the first has been written."""
    contents = [version.read_bytes() for version in versions]
    for content in cycle(contents):
        with replacing(root) as replacements:
            replacements.add(target).write_bytes(content)
        ready.touch()


if __name__ == "__main__":
    rewrite_forever(*(Path(one) for one in sys.argv[1:]))
