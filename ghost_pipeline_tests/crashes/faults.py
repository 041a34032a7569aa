"""Faults at the calls by which this process changes files: it dies there, or the call fails.

Nobody is asked to cooperate: the calls of the operating system are replaced, so whatever stages, renames or removes is
covered. DuckDB writes its file by itself; to it belong the calls before and after.
"""

import builtins
import errno
import hashlib
import io
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import IO, Any, Self
from unittest.mock import patch

NO_TOMBSTONES = (1 << 22) + 7
"""More than Linux numbers processes: what it leaves behind counts as that of a dead one."""
_WRITING = set("wax+")
_CHANGING = os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Fault(Enum):
    """What happens at an operation."""

    KILL = "kill"
    """The process dies before it."""
    TORN = "torn"
    """The process dies in the middle of it: half of what was to be written is there."""
    POWER = "power cut"
    """The machine stops before it: of files that were not flushed the names are there, and nothing in them."""
    NO_SPACE = "no space"
    """It fails, and so does every one after it that needs space."""
    READ_ONLY = "read-only"
    """It fails, and so does every one after it."""
    IO_ERROR = "input/output error"
    """It fails, once."""


DEADLY = (Fault.KILL, Fault.TORN, Fault.POWER)
FAILING = {Fault.NO_SPACE: errno.ENOSPC, Fault.READ_ONLY: errno.EROFS, Fault.IO_ERROR: errno.EIO}
_NEEDS_SPACE = frozenset({"create", "write", "mkdir", "fsync", "replace", "rename"})


class DiedError(BaseException):
    """Stands for the end of the process: nothing below a test catches it, and no cleaning up gets further than it."""


class Faults:
    """Counts the operations below a folder, and puts a fault in the way of one of them."""

    def __init__(self, root: Path, at: int | None = None, fault: Fault = Fault.KILL) -> None:
        """Let operation number `at`, from 0, meet with the fault; None: watch alone."""
        self.operations: list[str] = []
        """What was done, or tried, in its order."""
        self.contents: dict[str, set[str | None]] = defaultdict(set)
        """Of every file that was renamed into its place the hashes of its contents; None where it was removed."""
        self.met = False
        """Whether it came to the fault."""
        self._root, self._at, self._fault = root, at, fault
        self._before = {file.stat().st_ino for file in root.rglob("*") if file.is_file()}
        self._flushed: set[int] = set()
        self._mutex = threading.RLock()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the calls within the block, as a process that nobody knows."""
        opens = self._open(io.open)
        replaced: dict[tuple[object, str], Callable[..., Any]] = {
            (builtins, "open"): opens,
            (io, "open"): opens,
            (os, "open"): self._os_open(os.open),
            (os, "replace"): self._renaming("replace", os.replace),
            (os, "rename"): self._renaming("rename", os.rename),
            (os, "unlink"): self._removing("unlink", os.unlink),
            (os, "remove"): self._removing("unlink", os.remove),
            (os, "rmdir"): self._removing("rmdir", os.rmdir),
            (os, "mkdir"): self._mkdir(os.mkdir),
            (os, "fsync"): self._fsync(os.fsync),
            (os, "sync"): self._sync,
            (os, "getpid"): lambda: NO_TOMBSTONES,
        }
        patches = [patch.object(module, name, call) for (module, name), call in replaced.items()]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()
            if self.met and self._fault is Fault.POWER:
                self._lose_what_was_not_flushed()

    def _operation(self, name: str, path: object, torn: Callable[[], object] | None = None) -> None:
        """Count an operation; where it is its turn, the fault."""
        with self._mutex:
            number = len(self.operations)
            self.operations.append(f"{name} {path}")
            if self._at is None or number < self._at:
                return
            first, self.met = not self.met, True
            if self._fault in DEADLY:
                if first and self._fault is Fault.TORN and torn:
                    torn()
                raise DiedError(self.operations[-1])
            again = self._fault is Fault.READ_ONLY or (self._fault is Fault.NO_SPACE and name in _NEEDS_SPACE)
            if again or (first and self._fault is Fault.IO_ERROR):
                code = FAILING[self._fault]
                raise OSError(code, os.strerror(code), str(path))

    def _is_below(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and Path(os.path.abspath(path)).is_relative_to(self._root)  # noqa: PTH100

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as `open`
            if not (_WRITING & set(mode) and self._is_below(file)):
                return real(file, mode, *arguments, **named)
            self._operation("create", file)
            opened = real(file, mode, *arguments, **named)
            # Its number may have been that of a file that is gone.
            number = os.fstat(opened.fileno()).st_ino
            self._before.discard(number)
            self._flushed.discard(number)
            return _Written(opened, lambda *told: self._operation("write", file, *told))

        return call

    def _os_open(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *arguments: Any, **named: Any) -> int:  # noqa: ANN401 - as `os.open`
            # A file that is there is opened and not changed: so are locks.
            if flags & _CHANGING and self._is_below(path) and not os.path.exists(path):  # noqa: PTH110
                self._operation("create", path)
            return real(path, flags, *arguments, **named)

        return call

    def _renaming(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **named: Any) -> None:  # noqa: ANN401 - as `os.replace`
            if self._is_below(target):
                self._operation(name, target)
                self._note(Path(source), Path(target))
            real(source, target, **named)

        return call

    def _note(self, source: Path, target: Path) -> None:
        if source.is_file():
            self.contents[str(target)].add(hashlib.sha256(source.read_bytes()).hexdigest())
        for file in source.rglob("*"):
            self.contents[str(file)].add(None)

    def _removing(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, **named: Any) -> None:  # noqa: ANN401 - as `os.unlink`
            # Of what is not there nothing changes.
            if named.get("dir_fd") is not None or (self._is_below(path) and os.path.lexists(path)):
                self._operation(name, path)
                self.contents[str(path)].add(None)
            real(path, **named)

        return call

    def _mkdir(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as `os.mkdir`
            if self._is_below(path) and not os.path.exists(path):  # noqa: PTH110
                self._operation("mkdir", path)
            real(path, *arguments, **named)

        return call

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            if not self._is_below(path):
                return real(descriptor)
            # What writes by itself, as DuckDB does, is torn here.
            self._operation("fsync", path, lambda: os.truncate(path, path.stat().st_size // 2))
            # To wait for the disk would only take time: what counts is that it was asked for.
            self._flushed.add(os.fstat(descriptor).st_ino)
            return None

        return call

    def _sync(self) -> None:
        self._operation("fsync", "everything")
        self._flushed |= {file.stat().st_ino for file in self._root.rglob("*") if file.is_file()}

    def _lose_what_was_not_flushed(self) -> None:
        for file in self._root.rglob("*"):
            if file.is_file() and file.stat().st_ino not in self._before | self._flushed:
                os.truncate(file, 0)


class _Written:
    """A file that is open for writing, each write of which is an operation."""

    def __init__(self, file: IO[Any], operation: Callable[..., None]) -> None:
        self._file, self._operation = file, operation

    def write(self, content: Any) -> int:  # noqa: ANN401 - text or bytes
        self._operation(lambda: (self._file.write(content[: len(content) // 2]), self._file.flush()))
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a file has
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, *told: object) -> None:
        self._file.__exit__(*told)  # type: ignore[arg-type]
