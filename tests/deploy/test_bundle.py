"""Bundles: a project that can be placed anywhere, named by what it holds, without what is secret."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lading import pipeline
from lading.deploy.bundle import MANIFEST, Bundled, from_json, make_bundle, materialise, pack, require_unpacked, unpack, unpacked
from lading.deploy.bundle_prune import hold_bundle, prune_bundles
from lading.model.problems import LadingError
from tests.deploy.support import COG, CORTEX
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex
from tests.support.wheels import wheel


@pytest.fixture
def market(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    """An index with one package, which every command of the test uses."""
    index.publish(wheel("greeting", "1.0"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    return index


def bundled(folder: Path, files: Mapping[str, str | bytes], name: str = "shop") -> Bundled:
    options = pipeline.Options(directory=write_files(folder, files))
    project = pipeline.read(options)
    locked = pipeline.lock(pipeline.plan(project, options), project, options)
    return make_bundle(locked, project, options, name)


def packed(one: Bundled) -> bytes:
    archive = io.BytesIO()
    pack(one, archive)
    return archive.getvalue()


def names_in(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as entries:
        return entries.getnames()


WITH_PACKAGE = {**COG, "requirements.txt": "greeting==1.0\n"}


def test_a_bundle_is_named_by_what_it_holds_wherever_the_project_lies(market: LocalIndex, tmp_path: Path) -> None:
    first, second = bundled(tmp_path / "a" / "one", WITH_PACKAGE), bundled(tmp_path / "b" / "two", WITH_PACKAGE)
    assert first.bundle.digest == second.bundle.digest
    assert packed(first) == packed(second)
    assert str(tmp_path) not in first.bundle.as_json().decode()
    assert from_json(first.bundle.as_json()) == first.bundle
    (tmp_path / "a" / "one" / "predict.py").write_text(COG["predict.py"] + "# changed\n")
    assert bundled(tmp_path / "a" / "one", {}).bundle.digest != first.bundle.digest


def test_a_bundle_is_materialised_on_a_node_with_a_store_of_its_own(
    market: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(bundled(tmp_path / "project", WITH_PACKAGE))
    monkeypatch.setenv("LADING_HOME", str(tmp_path / "node"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    bundle, root = unpack(io.BytesIO(archive))
    asked = len(market.requests)
    placed = materialise(bundle, root)
    (api,) = placed.service.apis
    assert api.worker.python.startswith(str(tmp_path / "node"))
    assert Path(api.worker.root) == root
    assert (placed.service.title, [one.python for one in placed.environments]) == ("shop", [api.worker.python])
    done = subprocess.run([api.worker.python, "-c", "import greeting"], capture_output=True, check=False)
    assert done.returncode == 0
    assert not [one for one in market.requests[asked:] if one.path.rstrip("/").endswith("greeting")], "nothing is resolved on a node"


def test_what_is_secret_stays_out(market: LocalIndex, tmp_path: Path) -> None:
    one = bundled(tmp_path / "project", {**CORTEX, ".env": "TOKEN=hush-hush\n", "pip.conf": "[global]\n", "id_rsa": "key\n"})
    archive = packed(one)
    assert b"hush-hush" not in archive
    names = names_in(archive)
    assert {"src/.env", "src/pip.conf", "src/id_rsa"}.isdisjoint(names)
    assert one.bundle.wanted == ("TOKEN",)
    assert one.secrets["TOKEN"].reveal() == "hush-hush"
    assert {decision.rule for decision in one.decisions} == {"secret-file-left-out"}


def test_variables_that_a_bundle_wants_come_from_the_node(market: LocalIndex, tmp_path: Path) -> None:
    one = bundled(tmp_path / "project", {**CORTEX, ".env": "TOKEN=hush-hush\n"})
    bundle, root = unpack(io.BytesIO(packed(one)))
    placed = materialise(bundle, root, {**os.environ, "TOKEN": "of the node"})
    assert all(api.worker.env["TOKEN"] == "of the node" for api in (*placed.service.apis, *placed.service.job_apis))


def test_the_lock_is_in_it_whatever_an_ignore_file_says(market: LocalIndex, tmp_path: Path) -> None:
    one = bundled(tmp_path / "project", {**WITH_PACKAGE, ".dockerignore": "*.toml\n*.yaml\n"})
    names = names_in(packed(one))
    assert {"src/pylock.lading.toml", "src/cog.yaml"} <= set(names)


def test_a_damaged_archive_is_refused_and_leaves_nothing(market: LocalIndex, lading_home: Path, tmp_path: Path) -> None:
    one = bundled(tmp_path / "project", WITH_PACKAGE)
    archive = packed(one)
    other = archive.replace(b"return text.upper()", b"return text.lower()")
    for broken in (archive[: len(archive) // 2], b"no archive", other):
        with pytest.raises(LadingError) as caught:
            unpack(io.BytesIO(broken))
        assert caught.value.problems[0].rule == "bundle-damaged"
    assert unpacked(one.bundle.digest) is None
    assert list((lading_home / "bundles").iterdir()) == []
    with pytest.raises(LadingError):
        require_unpacked(one.bundle.digest)


def test_an_archive_cannot_write_outside_its_folder(market: LocalIndex, tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
        archive.addfile(tarfile.TarInfo(MANIFEST), io.BytesIO())
    with pytest.raises(LadingError):
        unpack(io.BytesIO(content.getvalue()))
    assert not list(tmp_path.rglob("escaped"))


def test_a_file_that_changes_while_it_is_packed_is_told(market: LocalIndex, tmp_path: Path) -> None:
    one = bundled(tmp_path / "project", WITH_PACKAGE)
    longer = tuple(replace(file, size=file.size + 9) if file.path.endswith("predict.py") else file for file in one.files)
    with pytest.raises(LadingError) as caught:
        packed(replace(one, files=longer))
    assert caught.value.problems[0].rule == "file-changed"


@pytest.mark.slow
def test_several_processes_may_unpack_and_materialise_at_the_same_time(market: LocalIndex, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(packed(bundled(tmp_path / "project", WITH_PACKAGE)))
    program = (
        "import sys; from lading.deploy.bundle import materialise, unpack\n"
        "placed = materialise(*unpack(open(sys.argv[1], 'rb')))\n"
        "print(placed.environments[0].path, placed.environments[0].reused)\n"
    )
    environ = {**os.environ, "LADING_HOME": str(tmp_path / "node")}
    started = [subprocess.Popen([sys.executable, "-c", program, path], env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [one.communicate(timeout=60)[0].split() for one in started]
    assert [one.returncode for one in started] == [0, 0, 0]
    assert len({path for path, _ in answers}) == 1
    assert sorted(reused for _, reused in answers) == ["False", "True", "True"], "made once for each node"


def test_bundles_that_nothing_uses_are_removed(market: LocalIndex, tmp_path: Path, lading_home: Path) -> None:
    held, named, free = (bundled(tmp_path / name, {**COG, "README.md": name}) for name in ("held", "named", "free"))
    (_bundle, root), *_ = (unpack(io.BytesIO(packed(one))) for one in (held, named, free))
    left = lading_home / "bundles" / ".unpacking-1"
    left.mkdir()
    os.utime(left, (0, 0))
    (lading_home / "bundles" / ".unpacking-2").mkdir()
    state = write_files(
        lading_home / "deployments" / "local" / "shop", {"state.json": f'{{"assignments": {{"1": {{"digest": "{named.bundle.digest}"}}}}}}'}
    )
    with hold_bundle(root):
        assert prune_bundles(3600.0)[0] == 1  # what was left there; the others are new
        assert prune_bundles(dry_run=True)[0] == 1
        told = lading("env", "prune", "--all", "--json").data
    assert told["removed_bundles"] == 1
    assert {path.name for path in (lading_home / "bundles").iterdir()} == {held.bundle.digest, named.bundle.digest, ".unpacking-2"}
    (state / "state.json").unlink()
    assert prune_bundles(only=[held.bundle.digest])[0] == 1
    with pytest.raises(LadingError, match="is not in Lading's store here"), hold_bundle(root):
        pass
