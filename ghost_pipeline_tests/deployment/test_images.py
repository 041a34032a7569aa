"""Every image that `deploy/` names is ours, or named by its digest, which a script renews."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ghost_pipeline_tests.deployment.services import DEPLOY

OURS = re.compile(r"(registry\.example\.com/)?ghost-pipeline(:\S+)?")
PINNED = re.compile(r"(?P<tag>[a-z]+:[0-9]\S*)@sha256:[0-9a-f]{64}")
FILES = [DEPLOY / "Dockerfile", *(path for path in DEPLOY.rglob("*.yaml") if path.name != "kustomization.yaml")]


def images(text: str) -> list[str]:
    """The images that a file names."""
    return re.findall(r"^(?:FROM|\s*(?:- )?image:)\s+(\S+)", text, re.MULTILINE)


NAMED = {image for path in FILES for image in images(path.read_text(encoding="utf-8"))}
FOREIGN = sorted(image for image in NAMED if not OURS.fullmatch(image))


def test_foreign_images_are_named_by_digest() -> None:
    assert [image for image in FOREIGN if not PINNED.fullmatch(image)] == []
    assert {image.partition(":")[0] for image in FOREIGN} == {"python", "postgres"}
    assert "ghost-pipeline" in NAMED


def test_an_image_has_one_digest_everywhere() -> None:
    assert len({image.partition("@")[0] for image in FOREIGN}) == len(FOREIGN)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The folder `deploy`, and a registry in which every tag has moved on."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "$*" >> "$ASKED"\necho sha256:' + "0" * 64 + "\n", encoding="utf-8")
    docker.chmod(0o755)
    return tmp_path / "deploy"


def test_digests_are_renewed_together(copied: Path) -> None:
    bin_folder, asked = copied.parent / "bin", copied.parent / "asked"
    variables = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "ASKED": str(asked)}
    subprocess.run([str(copied / "pin")], env=variables, check=True, capture_output=True)
    tags = {image.partition("@")[0] for image in FOREIGN}
    renewed = {image for path in copied.rglob("*") if path.is_file() for image in images(path.read_text("utf-8"))}
    assert {image for image in renewed if PINNED.fullmatch(image)} == {f"{tag}@sha256:{'0' * 64}" for tag in tags}
    inspected = [f"buildx imagetools inspect {tag} --format {{{{.Manifest.Digest}}}}" for tag in sorted(tags)]
    assert sorted(asked.read_text(encoding="utf-8").splitlines()) == inspected


def test_the_image_has_the_packages_of_the_lock_that_services_need() -> None:
    everything, needed = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", (folder / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
        for folder in (DEPLOY.parent, DEPLOY)
    )
    assert {name: version for name, version in needed.items() if everything.get(name) != version} == {}
    assert {"dagster-k8s", "polars", "setuptools"} <= needed.keys()
    assert {"pytest", "moto", "playwright", "ruff"} & needed.keys() == set()
