"""One index, one base and one store for the tests of images: layers are made once, as for a user."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lading.images.front import pins
from tests.images import support
from tests.images.support import PROJECT, Command, RunningRegistry
from tests.support.index import LocalIndex
from tests.support.installed import for_arm, repack
from tests.support.wheels import wheel


@pytest.fixture(scope="session")
def market() -> Iterator[LocalIndex]:
    """An index with the server's packages and those of the test projects."""
    with LocalIndex() as running:
        for name in pins(grpc=True):
            running.publish(repack(name))
            if "-any." not in repack(name).filename:
                running.publish(for_arm(repack(name)))
        for version in ("1.0", "2.0"):
            running.publish(wheel("greeting", version, requires=["small==1.0"], entry_points={"greet": "greeting:greet"}))
        running.publish(wheel("small", "1.0", files={"small/tests/test_it.py": "def test(): pass\n"}))
        noise = random.Random(1).randbytes(11_000_000)
        running.publish(wheel("large", "1.0", files={"large/noise.bin": noise}))
        yield running


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base without Python, as a folder."""
    return support.make_base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="session")
def images_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that all tests of images share."""
    return tmp_path_factory.mktemp("images-home")


@pytest.fixture
def lading(images_home: Path, market: LocalIndex, tmp_path: Path) -> Command:
    """The command, with the shared store."""
    return Command(images_home, market.url, tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project of Cog's kind."""
    return support.write(tmp_path / "my-model", PROJECT)


@pytest.fixture
def layout(lading: Command, project: Path, base: Path, tmp_path: Path) -> Path:
    """The project's image as an OCI layout."""
    lading("build", project, "-t", "my-model:v1", "--base", base, "-o", f"oci:{tmp_path / 'image'}")
    return tmp_path / "image"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that lets everybody in."""
    with RunningRegistry(tmp_path_factory.mktemp("registry") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def podman_environ(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[dict[str, str]]:
    """podman that runs containers; skipped where it does not. It leaves no container and nothing mounted."""
    environ = support.podman_environ(str(tmp_path_factory.mktemp("podman")))
    tar = tmp_path_factory.mktemp("tar") / "base.tar"
    subprocess.run(["tar", "-C", base, "-cf", tar, "."], check=True)
    imported = support.podman(environ, "import", "-q", str(tar), "lading-test-base", check=False)
    if imported.returncode:
        pytest.skip(f"podman does not work here: {imported.stderr.strip()[-300:]}")
    done = support.podman(environ, "run", "--rm", "lading-test-base", "true", check=False)
    if done.returncode:
        pytest.skip(f"podman runs no containers here: {done.stderr.strip()[-300:]}")
    yield environ
    support.podman(environ, "rm", "-f", "-a", "-t", "0", check=False)
    graph = Path(environ["CONTAINERS_STORAGE_CONF"]).parent / "graph" / "overlay"
    if graph.is_mount():
        subprocess.run(["umount", "-l", graph], check=False)


@pytest.fixture
def build(lading: Command, base: Path) -> Callable[..., Any]:
    """Build an image; the answer of ``--json``."""

    def built(*words: str | Path, **options: Any) -> Any:
        return json.loads(lading("build", *words, "--base", base, "--json", **options).out)

    return built
