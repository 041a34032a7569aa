"""From the layout of an older release to that of this one: its files get the names of today, and their bytes stay.

Killed at any point, it goes on where it was: a file has its old name or its new one (in a bucket, for a moment, both),
and `layout.json` is written last. Until then nothing else opens the lake.
"""

from collections.abc import Callable, Iterable

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.layout import LAYOUT, layout_version, write_layout
from ghost_pipeline.lake.locking import exclusive_lock
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location

RENAMED_TOGETHER = 1000
"""Files between two reports of progress."""


def upgrade(location: Location, say: Callable[[str], object]) -> bool:
    """Bring a lake to the layout of this release while no step is running; returns whether it had an older one.

    Args:
        location: the lake.
        say: is told what is done, in lines for people.

    Raises:
        LakeError: the lake is of a newer release, is in use, or cannot be written; running again goes on.

    """
    files = open_files(location)
    if layout_version(files) in {None, LAYOUT["version"]}:
        return False
    with exclusive_lock(files.folder):
        # Another process may have done it meanwhile.
        version = layout_version(files)
        if version in {None, LAYOUT["version"]}:
            return False
        say(f"upgrading {files} from layout {version} to {LAYOUT['version']}")
        clear_cache(files.folder)
        for contract in CONTRACTS.values():
            names = _names(contract, files.names(contract.name))
            for first in range(0, len(names), RENAMED_TOGETHER):
                files.rename(names[first : first + RENAMED_TOGETHER])
                say(f"{contract.name}: {min(first + RENAMED_TOGETHER, len(names))} of {len(names)} files")
            files.remove_empty_folders(contract.name)
        write_layout(files)
    return True


def _names(contract: Contract, names: Iterable[str]) -> list[tuple[str, str]]:
    """The files of a table that have other names today, ascending, with those names."""
    renamed = ((name, _name(contract, name)) for name in sorted(names))
    return [(name, new) for name, new in renamed if new != name]


def _name(contract: Contract, name: str) -> str:
    """The name that a file has today; whatever is not a file of a partition keeps its own."""
    table, *folders, file = name.split("/")
    keys = contract.partitioning.keys
    if len(folders) != len(keys) or not all("=" in folder for folder in folders):
        return name
    values = (folder.partition("=")[2] for folder in folders)
    return "/".join((table, *(f"{key}={value}" for key, value in zip(keys, values, strict=True)), file))
