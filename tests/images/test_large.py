"""A package of a torch's size and shape: its layer is no larger than its wheel, the build needs little memory, and a container runs it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.images.support import PROJECT, Command, RunningRegistry, podman, write
from tests.support.index import LocalIndex
from tests.support.wheels import Archive

pytestmark = pytest.mark.slow

BLOCK = 1 << 20
LIBRARY = 430 * BLOCK
"""A library as large as libtorch_cpu.so, which deflate makes four times smaller."""
SOURCES = 9000
MEMORY = 400 << 20
"""Of one process, in bytes: far less than the library."""


def _library() -> Any:
    """Blocks that are a quarter noise."""
    noise = random.Random(7)
    for number in range(LIBRARY // BLOCK):
        yield noise.randbytes(BLOCK // 4) + bytes([number % 251]) * (BLOCK - BLOCK // 4)


@pytest.fixture(scope="module")
def torch_like(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A wheel of the package `heavy`: one library, and as many small files as torch has."""
    path = tmp_path_factory.mktemp("heavy") / "heavy-1.0-py3-none-any.whl"
    metadata = b"Metadata-Version: 2.1\nName: heavy\nVersion: 1.0\n"
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(name, content)
            lines.append(f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}")

        digest = hashlib.sha256()
        with archive.open("heavy/lib/libheavy.so", "w", force_zip64=True) as stream:
            for block in _library():
                digest.update(block)
                stream.write(block)
        lines.append(f"heavy/lib/libheavy.so,sha256={base64.urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()},{LIBRARY}")
        add("heavy/__init__.py", b"__version__ = '1.0'\n")
        for number in range(SOURCES):
            add(f"heavy/part{number % 90}/module{number}.py", f"def f{number}(x):\n    return x + {number}\n".encode() * 8)
        add("heavy-1.0.dist-info/METADATA", metadata)
        add("heavy-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("heavy-1.0.dist-info/RECORD", "\n".join([*lines, "heavy-1.0.dist-info/RECORD,,", ""]))
    return Archive("heavy", "1.0", path.name, path.read_bytes(), None, metadata)


def test_a_package_of_torchs_size(
    lading: Command,
    base: Path,
    market: LocalIndex,
    torch_like: Archive,
    registry: RunningRegistry,
    podman_environ: dict[str, str],
    tmp_path: Path,
) -> None:
    market.publish(torch_like)
    project = write(tmp_path / "heavy-model", {**PROJECT, "requirements.txt": "greeting==1.0\nheavy==1.0\n"})
    name = f"{registry.host}/heavy:v1"
    words = ["build", str(project), "-t", name, "--base", str(base), "--json", "--push"]
    image = _measured(lading, words)["images"][0]
    (layer,) = [one for one in image["layers"] if one["title"] == "heavy 1.0" and one["kind"] == "packages"]
    assert layer["unpacked"] > LIBRARY
    assert layer["size"] <= 1.02 * len(torch_like.content)
    assert len(image["layers"]) <= 60
    podman(podman_environ, "pull", "-q", "--tls-verify=false", name)
    checked = podman(podman_environ, "run", "--rm", "--entrypoint", "/opt/venv/bin/python", name, "-I", "-c", _CHECK)
    assert checked.stdout.split() == ["0", str(SOURCES + 5)]


def _measured(lading: Command, words: list[str]) -> Any:
    """Run it in a process that tells how much memory it and its children took."""
    code = (
        "import json, resource, subprocess, sys; done = subprocess.run([sys.executable, '-m', 'lading', *sys.argv[1:]], capture_output=True, text=True);"
        "print(json.dumps([done.returncode, done.stdout, done.stderr, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))"
    )
    ran = lading.python("-c", code, *words)
    status, out, err, memory = json.loads(ran)
    assert status == 0, out + err
    assert memory < MEMORY
    return json.loads(out)


_CHECK = """
import base64, hashlib, importlib.metadata as metadata
wrong = count = 0
for path in metadata.distribution("heavy").files:
    if path.hash:
        count += 1
        with path.locate().open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
        wrong += base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != path.hash.value
print(wrong, count)
"""
