"""The Dockerfile for other builders: what it says, and that one of them makes an image of it that serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from tests.images.support import PREDICTOR, PROJECT, Command, container, podman, which, write
from tests.images.test_debian import DEBIAN
from tests.images.test_run import wait_ready
from tests.support.index import LocalIndex
from tests.support.wheels import Archive
from tests.weights.hub import Hub, commit_of

ROOT = Path(__file__).parents[2]
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_commands_mount_their_secrets_and_scripts_run_by_their_program(lading: Command, tmp_path: Path) -> None:
    config = (
        "build:\n  python_requirements: requirements.txt\n  gpu: true\n  system_packages: [libgl1]\n  run:\n"
        "    - command: make-it --with /etc/token\n      mounts: [{type: secret, id: token, target: /etc/token}]\n    - plain\n"
        "predict: predict.py:Predictor\n"
    )
    project = write(tmp_path / "steps", {**PROJECT, "cog.yaml": config, "requirements.txt": "greeting==1.0\n"})
    lines = lading("build", project, "--dockerfile", "--accelerator", "cpu").out.splitlines()
    assert "RUN --mount=type=secret,id=token,target=/etc/token make-it --with /etc/token" in lines
    assert "RUN plain" in lines
    assert any(line.startswith("RUN find /root ") for line in lines[lines.index("RUN plain") :])
    assert any(" LADING_HOME_FILES=/root" in line for line in lines)
    assert any(line.startswith("RUN apt-get update && apt-get install -y --no-install-recommends libgl1 ") for line in lines)
    assert not [line for line in lines if line.startswith(("ARG", "ENV NVIDIA"))]
    assert len(max(lines, key=len)) < 10_000


def test_it_takes_the_files_that_an_image_of_ladings_has(lading: Command, tmp_path: Path) -> None:
    files = {
        **PROJECT,
        "requirements.txt": "greeting==1.0\n",
        ".env": "TOKEN=planted\n",
        "keys/server.pem": "planted",
        ".git/config": "planted",
        "notes/draft one.txt": "planted",
        "notes/keep.txt": "kept",
        ".dockerignore": "notes/draft*\n",
    }
    project = write(tmp_path / "secretive", cast("Any", files))
    lines = lading("build", project, "--dockerfile").out.splitlines()
    (line,) = [one for one in lines if one.startswith("RUN") and "/tmp/project" in one]
    assert "COPY . /tmp/project" not in lines[lines.index("COPY --from=project /src /src") :]
    assert not [one for one in lines[lines.index(line) + 1 :] if "/tmp/project" in one]  # in a stage that the image is not made of
    command = line.removeprefix("RUN ").replace("/tmp/project", str(project)).replace("/src", str(tmp_path / "out"))
    subprocess.run(["sh", "-c", command], check=True)
    copied = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert copied == {"cog.yaml", "predict.py", "requirements.txt", "notes/keep.txt", "pylock.lading.toml"}


def test_weights_come_with_the_digests_of_their_lock(lading: Command, tmp_path: Path) -> None:
    weights = (
        "weights:\n  - {name: llm, target: /weights/llm, source: {uri: 'hf://org/model'}}\n  - {name: own, target: /src/own, source: {uri: own}}\n"
        "  - {name: moved, target: /weights/moved, source: {uri: kept here}}\n"
    )
    files = {**PROJECT, "cog.yaml": PROJECT["cog.yaml"] + weights, "requirements.txt": "greeting==1.0\n", "own/a": "a", "kept here/b": "b"}
    project = write(tmp_path / "weighty", cast("Any", files))
    model = {"model.bin": b"m" * 5000}
    with Hub({"org/model": {"main": model}}) as hub:
        lines = lading("build", project, "--dockerfile", HF_ENDPOINT=hub.url).out.splitlines()
        address = f"{hub.url}/org/model/resolve/{commit_of(model)}/model.bin"
    (added,) = [line for line in lines if line.startswith("ADD")]
    digest = json.loads((project / "weights.lock").read_text())["weights"][0]["files"][0]["digest"]
    assert added == f"ADD --checksum={digest} {address} /weights/llm/model.bin"
    assert 'COPY ["kept here/b", "/weights/moved/b"]' in lines
    assert not [line for line in lines if "own/a" in line]  # comes with the project


@pytest.mark.slow
def test_buildah_makes_an_image_of_it_that_serves(
    lading: Command, market: LocalIndex, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    if not (DEBIAN / f"usr/bin/python{MINOR}").exists():
        pytest.skip(f"there is no Debian with Python {MINOR} in .venv/debian: `.ci/run --all` makes one with debootstrap")
    environ = {**os.environ, **podman_environ, "BUILDAH_ISOLATION": "chroot"}
    _images_of_this_machine(environ, tmp_path)
    market.publish(_own_wheel(tmp_path))
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n", "predict.py": PREDICTOR})
    text = lading("build", project, "--dockerfile", "--python", MINOR, "--base", "localhost/lading-test-debian").out
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "uv.toml").write_text(f'[[index]]\nurl = "{market.url}"\ndefault = true\n')
    words = ["bud", "-q", "--network", "host", "-v", f"{tmp_path / 'uv.toml'}:/etc/uv/uv.toml:ro", "-f", str(tmp_path / "Dockerfile")]
    command = [which("buildah"), *words, "--layers", "-t", "localhost/lading-test-model", str(project)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with container(podman_environ, "localhost/lading-test-model", "--read-only", "--tmpfs", "/tmp") as (_, port):
        wait_ready(port)
        answer = httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"name": "ox"}}).json()
    assert (answer["status"], answer["output"]) == ("succeeded", "hello ox 1.0 ")
    (project / "predict.py").write_text(PREDICTOR.replace("hello", "good day"))
    subprocess.run(command, env=environ, check=True, capture_output=True)
    shown = podman(podman_environ, "run", "--rm", "--entrypoint", "cat", "localhost/lading-test-model", "/src/predict.py").stdout
    assert "good day" in shown  # no layer of the project as it was


def _images_of_this_machine(environ: dict[str, str], tmp_path: Path) -> None:
    """The base, and uv's image, which no registry is asked for."""
    import uv

    tar = tmp_path / "debian.tar"
    left_out = [f"--exclude=./{name}/*" for name in ("proc", "sys", "dev")]
    subprocess.run(["tar", "-C", DEBIAN, *left_out, "-cf", tar, "."], check=True)
    folder = tmp_path / "uv-image"
    folder.mkdir()
    shutil.copy(uv.find_uv_bin(), folder / "uv")
    subprocess.run(["tar", "-C", folder, "-cf", tmp_path / "uv.tar", "."], check=True)
    for path, name in ((tar, "localhost/lading-test-debian"), (tmp_path / "uv.tar", "ghcr.io/astral-sh/uv:0.13")):
        subprocess.run([which("podman"), "import", "-q", path, name], env=environ, check=True, capture_output=True)


def _own_wheel(tmp_path: Path) -> Archive:
    """Lading as a wheel, made from this checkout."""
    from importlib.metadata import version

    tree = tmp_path / "checkout"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path / "dist"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no wheel can be made here: {done.stderr.strip()[-300:]}")
    (path,) = out.glob("*.whl")
    return Archive(
        "lading", version("lading"), path.name, path.read_bytes(), ">=3.11", b"Metadata-Version: 2.1\nName: lading\nVersion: 0.1.0\n"
    )
