"""Environments of their own for clients that are big or of another version, made below that of the project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

REQUIRED = "GHOST_REQUIRE_CLIENTS"
"""Set where a client that cannot be installed is a failure; elsewhere its tests are skipped."""


def python_with(lock: Path, module: str) -> Path | None:
    """The Python of an environment with what a lock file lists, made if it is missing; None if that is impossible."""
    # The tests of another process may be making it.
    with FileLock(Path(sys.prefix) / lock.name):
        return _made(Path(sys.prefix) / lock.stem, lock, module)


def required_python(lock: Path, module: str) -> Path:
    """The Python of `python_with`; without one, the test is skipped, or fails where clients are required."""
    return found_or_skipped(python_with(lock, module), f"{module} of {lock.name} cannot be installed")


def found_or_skipped(found: Path | None, otherwise: str) -> Path:
    """A program of a client; without it, the test is skipped, or fails where clients are required."""
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail(otherwise)
        pytest.skip(otherwise)
    return found


def _made(environment: Path, lock: Path, module: str) -> Path | None:
    python = environment / "bin" / "python"
    if _imports(python, module):
        return python
    make = [sys.executable, "-m", "venv", "--clear", str(environment)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    for command in (make, [*install, "--require-hashes", "-r", str(lock)]):
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except (subprocess.CalledProcessError, OSError):
            return None
    return python if _imports(python, module) else None


def _imports(python: Path, module: str) -> bool:
    if not python.exists():
        return False
    return subprocess.run([python, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0
