"""The files of a source folder: which of them are data, by their names, as Spark, Hive and Arrow tell them apart."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.data_files import Listing, form_of, is_hidden, without_partition_values


@dataclass(frozen=True)
class FolderFile:
    """A file of a folder. See `DataFile`."""

    part: str
    root: Path
    """The source folder."""

    def __str__(self) -> str:
        """The path for messages."""
        return shown_below(self.root, self.part)

    @property
    def address(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def path(self) -> Path:
        """The path."""
        return self.root / self.part

    @property
    def version(self) -> str:
        """Size, inode, and its times."""
        found = self.path.stat()
        # Tools may set the time of the last change; only the system sets that of the last change of the inode.
        return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"

    @property
    def size(self) -> int:
        """See `DataFile`."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def footer(self) -> Path:
        """Return the file."""
        return self.path

    @contextmanager
    def reopenable(self) -> Iterator[Callable[[], BinaryIO]]:
        """See `DataFile`."""
        yield lambda: self.path.open("rb")


class FolderFiles:
    """A folder. See `Files`."""

    mixes_versions = False
    """A file is read through one opening, and a rename leaves that alone."""

    def __init__(self, folder: Path) -> None:
        """Open a folder.

        Raises:
            SourceError: it is none.

        """
        if not folder.is_dir():
            raise SourceError(f"source {folder}: not a folder. Set GHOST_SOURCE to a folder of canonical tables")
        self.folder = folder

    def __str__(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def identity(self) -> str:
        """The folder without symbolic links."""
        return str(self.folder.resolve())

    def shown(self, name: str) -> str:
        """See `Files`."""
        return shown_below(self.folder, name)

    def is_file(self, name: str) -> bool:
        """See `Files`."""
        return (self.folder / name).is_file()

    def is_folder(self, name: str) -> bool:
        """See `Files`."""
        return (self.folder / name).is_dir()

    def names(self) -> list[str]:
        """See `Files`."""
        return [path.name for path in self.folder.iterdir()]

    def file(self, name: str) -> FolderFile:
        """See `Files`."""
        require_inside(self.folder / name, self.folder)
        return self.listed(name)

    def listed(self, part: str) -> FolderFile:
        """See `Files`."""
        return FolderFile(part, self.folder)

    def below(self, folder: str) -> Listing:
        """List the files below a folder.

        A folder behind a symbolic link is read as well, unless it is read already: each folder counts once.

        Raises:
            SourceError: a symbolic link leads out of the source, or to a folder above this one.

        """
        top = self.folder / folder
        require_inside(top, self.folder)
        files: list[Path] = []
        hidden: list[str] = []
        entered: set[Path] = set()
        links = [top]
        while links:
            # First what lies here, so that it keeps its own path.
            link = min(links)
            links.remove(link)
            for at, folders, names in os.walk(link):
                here = Path(at)
                is_below_hidden = any(map(is_hidden, here.relative_to(top).parts))
                real = here.resolve()
                if real in entered and not is_below_hidden:
                    folders.clear()
                    continue
                entered |= set() if is_below_hidden else {real}
                here_links = [here / name for name in folders if (here / name).is_symlink()]
                for one in here_links:
                    _require_no_circle(one, top, self.folder)
                links += [one for one in here_links if not is_below_hidden and not is_hidden(one.name)]
                for name in names:
                    if is_below_hidden or is_hidden(name):
                        hidden.append(name)
                    else:
                        if form_of(name):
                            require_inside(here / name, self.folder)
                        files.append(here / name)
        found = (self.listed(path.relative_to(self.folder).as_posix()) for path in sorted(files))
        return Listing(tuple(found), tuple(hidden))


def shown_below(root: Path, part: str) -> str:
    """Return a path below a source folder for messages."""
    return f"{root / without_partition_values(part)}"


def require_inside(path: Path, root: Path) -> None:
    """Refuse a symbolic link that leads out of the source folder.

    Raises:
        SourceError: it does; names the link, not what it leads to.

    """
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise SourceError(
            f"{_shown(path, root)}: is a symbolic link that leads out of the source folder. Put the file itself there, "
            f"or set GHOST_SOURCE to the folder that holds it"
        )


def _require_no_circle(link: Path, folder: Path, root: Path) -> None:
    require_inside(link, root)
    target, own = link.resolve(), folder.resolve()
    if target != own and own.is_relative_to(target):
        raise SourceError(
            f"{_shown(link, root)}: is a symbolic link to a folder that holds this one. Remove it, or let it lead to "
            f"the files alone"
        )


def _shown(path: Path, root: Path) -> str:
    return shown_below(root, path.relative_to(root).as_posix())
