"""Who waits for whom in the lake, between threads and between processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake import locking
from ghost_pipeline.lake.locking import exclusive_lock, shared_lock

Lock = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def another_process(lock: Lock, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock until the block ends or it is killed."""
    code = (
        f"import sys\nfrom pathlib import Path\nfrom ghost_pipeline.lake.locking import {lock.__name__}\n"
        f"with {lock.__name__}(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_steps_work_beside_one_another(tmp_path: Path) -> None:
    with another_process(shared_lock, tmp_path), shared_lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (exclusive_lock, shared_lock, "an erasure has held the lake for 0.2 s"),
        (shared_lock, exclusive_lock, "other runs have been using the lake for 0.2 s"),
        (exclusive_lock, exclusive_lock, "other runs have been using the lake for 0.2 s"),
    ],
)
def test_who_waits_too_long_is_told_for_whom(
    first: Lock, second: Lock, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.2)
    with another_process(first, tmp_path), pytest.raises(LakeError, match=says), second(tmp_path):
        pass


@pytest.mark.parametrize(("first", "second"), [(exclusive_lock, shared_lock), (shared_lock, exclusive_lock)])
def test_a_process_that_is_killed_holds_nothing(first: Lock, second: Lock, tmp_path: Path) -> None:
    with another_process(first, tmp_path) as process:
        process.kill()
        process.wait()
        with second(tmp_path):
            pass


def test_steps_without_end_keep_nobody_waiting(tmp_path: Path) -> None:
    stop, entered = threading.Event(), threading.Barrier(4)

    def one_after_the_other(number: int) -> None:
        first = True
        while not stop.is_set():
            with shared_lock(tmp_path):
                if first:
                    entered.wait(10)
                    first = False
                # At no time is nobody in.
                time.sleep(0.1 + 0.03 * number)

    threads = [threading.Thread(target=one_after_the_other, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        entered.wait(10)
        since = time.monotonic()
        with exclusive_lock(tmp_path):
            waited = time.monotonic() - since
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert waited < 5


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"")
    with (
        pytest.raises(LakeError, match=r"lake/\.lake\.lock: cannot be written .* then run again"),
        shared_lock(tmp_path / "lake"),
    ):
        pass
