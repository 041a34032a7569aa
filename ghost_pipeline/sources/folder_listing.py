"""Which files below a source folder are data: by their names, as Spark, Hive and Arrow tell them apart."""

import os
from dataclasses import dataclass
from pathlib import Path

from ghost_pipeline.errors import SourceError


@dataclass(frozen=True)
class Listing:
    """The files of a folder."""

    files: tuple[Path, ...]
    """Those with data, in the order of their paths."""
    hidden: int
    """Files with the same ending that are skipped: their name, or that of a folder above them, begins with _ or ."""
    others: int
    """Files that are skipped because of another ending, without the hidden ones."""


def is_hidden(name: str) -> bool:
    """Return whether a name says that it holds no data: an unfinished attempt, a staging copy, a log.

    `_year=2025` is a partition, as for Spark.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def require_inside(path: Path, root: Path) -> None:
    """Refuse a symbolic link that leads out of the source folder.

    Raises:
        SourceError: it does; names the link, not what it leads to.

    """
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise SourceError(
            f"{path}: is a symbolic link that leads out of the source folder. Put the file itself there, or set "
            f"GHOST_SOURCE to the folder that holds it"
        )


def files_below(folder: Path, root: Path, suffix: str) -> Listing:
    """List the files below a folder whose names end with `suffix`.

    A folder behind a symbolic link is read as well, unless it is read already: each folder counts once.

    Raises:
        SourceError: a symbolic link leads out of `root`, or to a folder above `folder`.

    """
    files: list[Path] = []
    hidden = others = 0
    entered: set[Path] = set()
    links = [folder]
    while links:
        # First what lies here, so that it keeps its own path.
        link = min(links)
        links.remove(link)
        for at, folders, names in os.walk(link):
            here = Path(at)
            is_below_hidden = any(map(is_hidden, here.relative_to(folder).parts))
            real = here.resolve()
            if real in entered and not is_below_hidden:
                folders.clear()
                continue
            entered |= set() if is_below_hidden else {real}
            here_links = [here / name for name in folders if (here / name).is_symlink()]
            for one in here_links:
                _require_no_circle(one, folder, root)
            links += [one for one in here_links if not is_below_hidden and not is_hidden(one.name)]
            for name in names:
                if is_below_hidden or is_hidden(name):
                    hidden += name.endswith(suffix)
                elif name.endswith(suffix):
                    require_inside(here / name, root)
                    files.append(here / name)
                else:
                    others += 1
    return Listing(tuple(sorted(files)), hidden, others)


def _require_no_circle(link: Path, folder: Path, root: Path) -> None:
    require_inside(link, root)
    target, own = link.resolve(), folder.resolve()
    if target != own and own.is_relative_to(target):
        raise SourceError(
            f"{link}: is a symbolic link to a folder that holds this one. Remove it, or let it lead to the files alone"
        )
