"""What is kept of the files that a build step wrote, whatever engine made its layer."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from lading.images.layers import LayerWriter
from lading.images.media import LAYER, Descriptor
from lading.images.step_files import Rewriting, StepFiles
from lading.images.store import Store
from tests.images.support import write


def _rewritten(tmp_path: Path, layer: bytes) -> tuple[bytes, StepFiles]:
    """A layer as it gets into the image, and what is told of it."""
    store = Store(tmp_path / "store")
    store.prepare()
    written = io.BytesIO()
    with LayerWriter(written) as writer:
        files = Rewriting(writer, (), packages=False).run(store, Descriptor(media_type=LAYER, digest=store.add(layer), size=len(layer)))
        writer.finish()
    return written.getvalue(), files


def test_secrets_that_a_script_leaves_beside_the_project_stay_out(tmp_path: Path) -> None:
    """As they do when they are the project's own: a clone's folder holds the address that it came from, with its token."""
    project = write(tmp_path / "project", {"own.py": "", ".env": "OWN=1"})
    left = {"third/.git/config": "url = https://token@example.com/x", ".env": "OWN=2", "third/.env": "KEY=1", "id_rsa": "key"}
    kept = {"third/code.py": "x = 1", "third/.env.example": "KEY="}
    script = write(tmp_path / "written", {**left, **kept, "own.py": "changed", "third/__pycache__/code.pyc": "code"})
    written = io.BytesIO()
    with LayerWriter(written) as writer:
        files = Rewriting(writer, (), packages=False).beside(script, project)
        writer.finish()
    written.seek(0)
    with tarfile.open(fileobj=written) as archive:
        assert {entry.name for entry in archive if not entry.isdir()} == {f"src/{name}" for name in kept}
    assert files.secret == {"src/third/.git": 33, "src/third/.env": 5, "src/id_rsa": 3}
    assert StepFiles.from_json(files.as_json()) == files
    (told,) = [one for one in files.decisions("dependencies.sh") if one.rule == "step-secrets-left-out"]
    assert told.asked == "/src/third/.git (33 B), /src/third/.env (5 B), /src/id_rsa (3 B)"


def _layer(*entries: tuple[str, bytes | str]) -> bytes:
    """Files with their content, and hard links with the name that they link to."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.LNKTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _unpacked(layer: bytes, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_what_is_linked_to_a_cache_stays_when_the_cache_goes(tmp_path: Path) -> None:
    """As uv installs: its cache comes first in the layer, with the content, and the packages are other names of it."""
    cached = "root/.cache/uv/archive-v0/abc"
    packages = "usr/local/lib/python3.11/site-packages"
    layer = _layer(
        ("opt/first.py", b"kept"),
        (f"{cached}/first.py", "opt/first.py"),
        (f"{cached}/mod.py", b"x = 1"),
        (f"{cached}/again.py", f"./{cached}/mod.py"),
        (f"{cached}/unused.py", b"not needed"),
        (f"{packages}/again.py", f"{cached}/again.py"),
        (f"{packages}/first.py", f"{cached}/first.py"),
        (f"{packages}/mod.py", f"./{cached}/mod.py"),
        ("var/log/apt/history.log", b"log"),
    )
    written, files = _rewritten(tmp_path, layer)
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        assert not [name for name in archive.getnames() if name.startswith(("root", "var"))]
    folder = _unpacked(written, tmp_path / "image")
    assert {path.name: path.read_text() for path in (folder / packages).iterdir()} == {
        "again.py": "x = 1",
        "first.py": "kept",
        "mod.py": "x = 1",
    }
    assert (folder / packages / "again.py").samefile(folder / packages / "mod.py")
    assert (folder / packages / "first.py").samefile(folder / "opt/first.py")
    assert files.caches == {"root/.cache/uv": len(b"not needed")}
