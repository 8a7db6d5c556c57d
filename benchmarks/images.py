"""Building and pushing an image, side by side with ``buildah bud`` (uv inside, warm cache) and ``podman build`` (pip), in one run.

    python benchmarks/images.py --base .venv/debian [sklearn] [torch]

Needs podman, buildah and docker-registry, a base with a Python (a folder made by debootstrap, as ``.ci/run`` makes it), and an index that has
the packages; they are fetched once, into ``--work``, and not measured. Everything else is: each build begins with the packages at hand, as
files in Lading's store, in uv's cache, and as wheels for pip, and with the base imported: as an image of the engines', as a layout for Lading.
Bytecode is compiled by all or by none; Lading runs with its own, as it does where it is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from isal import isal_zlib as inflater
except ImportError:
    inflater = zlib  # type: ignore[assignment]

KINDS = {
    "sklearn": ("scikit-learn==1.7.2\npandas==2.3.3\n", "sklearn.ensemble, pandas"),
    "torch": ("torch==2.13.0\n", "torch"),
}
PREDICT = """\
from cog import BasePredictor
import {modules}


class Predictor(BasePredictor):
    def predict(self, x: int) -> int:
        return x + {number}
"""
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "{runtime}"
events_logger = "file"
"""
LADING = [sys.executable, "-m", "lading"]


class Bench:
    """One run: a working folder, a registry on loopback, and a storage of its own for the engines."""

    def __init__(self, work: Path, base: Path) -> None:
        self.work, self.base = work, base
        self.python = max(path.name for path in (base / "usr/bin").glob("python3.??"))
        self.env = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "LADING_HOME": f"{work}/home",
            "UV_CACHE_DIR": f"{work}/uv",
            "BUILDAH_ISOLATION": "chroot",
            **self._engines(),
        }
        self.results: dict[str, dict[str, float]] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        self.serving: subprocess.Popen[bytes] | None = None

    def _engines(self) -> dict[str, str]:
        place = self.work / "engines"
        place.mkdir(parents=True, exist_ok=True)
        path = f"{os.environ['PATH']}:/usr/sbin"
        (place / "containers.conf").write_text(CONTAINERS.format(runtime="runc" if shutil.which("runc", path=path) else "crun"))
        (place / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n')
        return {"CONTAINERS_CONF": f"{place}/containers.conf", "CONTAINERS_STORAGE_CONF": f"{place}/storage.conf", "PATH": path}

    def call(self, *words: Any, cwd: Path | None = None, check: bool = True) -> str:
        command = [str(word) for word in words]
        done = subprocess.run(command, cwd=cwd or self.work, env=self.env, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise SystemExit(f"{words}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def timed(self, row: str, column: str, do: Callable[[], Any]) -> None:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        do()
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.results.setdefault(row, {})[column] = wall
        print(f"  {row:34} {column:10} {wall:7.2f} s  {cpu:7.2f} s of CPU", flush=True)

    def fresh_registry(self) -> None:
        """A registry that has nothing, at the address that it had before."""
        self.end_registry()
        shutil.rmtree(self.work / "registry", ignore_errors=True)
        config = self.work / "registry.yml"
        storage = f"storage: {{filesystem: {{rootdirectory: {self.work}/registry}}}}"
        config.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: '{self.host}'}}\n")
        program = shutil.which("docker-registry", path=self.env["PATH"]) or "docker-registry"
        self.serving = subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def end_registry(self) -> None:
        if self.serving is not None:
            self.serving.terminate()
            self.serving.wait()

    def import_base(self) -> None:
        if subprocess.run(["podman", "image", "exists", "localhost/bench-base"], env=self.env, check=False).returncode:
            tar = self.work / "base.tar"
            left_out = [f"--exclude=./{name}/*" for name in ("proc", "sys", "dev")]
            self.call("tar", "-C", self.base, *left_out, "-cf", tar, ".")
            self.call("podman", "import", "-q", tar, "localhost/bench-base")
        layout = self.work / "base"
        if not layout.exists():
            self.call("podman", "push", "-q", "localhost/bench-base", f"oci:{layout}:latest")
        self.layout = f"oci:{layout}:latest"

    def project(self, kind: str) -> Path:
        requirements, modules = KINDS[kind]
        folder = self.work / kind
        folder.mkdir(exist_ok=True)
        minor = self.python.removeprefix("python")
        build = f'build:\n  python_version: "{minor}"\n  python_requirements: requirements.txt\n'
        (folder / "cog.yaml").write_text(f"{build}predict: predict.py:Predictor\n")
        (folder / "requirements.txt").write_text(requirements)
        (folder / "predict.py").write_text(PREDICT.format(modules=modules, number=1))
        self.call(*LADING, "lock", "-q", cwd=folder)
        return folder

    def forget_layers(self) -> None:
        """As on the first day, with the packages' files at hand; the base is kept, as the engines keep theirs."""
        images = self.work / "home" / "images"
        records = {path: json.loads(path.read_bytes()) for path in (images / "layers").glob("*.json")}
        kept = {record["digest"] for record in records.values() if record["kind"] == "base"}
        for path, record in records.items():
            if record["digest"] not in kept:
                path.unlink()
        for path in (images / "blobs/sha256").iterdir():
            if f"sha256:{path.name}" not in kept:
                path.unlink()
        (images / "index.json").unlink(missing_ok=True)
        shutil.rmtree(images / "pushed", ignore_errors=True)

    def forget_images(self) -> None:
        """The engines' as well: everything but the base, of earlier runs too, whose layers they would take again."""
        listed = self.call("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").split()
        others = [name for name in listed if not name.startswith("localhost/bench-base") and "<none>" not in name]
        if others:
            self.call("podman", "rmi", "-f", *others, check=False)
        self.call("buildah", "rmi", "--prune", "-f", check=False)

    def wheels(self, folder: Path) -> list[Path]:
        lock = (folder / "pylock.lading.toml").read_text()
        return [path for path in (self.work / "home/images/wheels").glob("*/*.whl") if path.parent.name in lock]

    def bound(self, wheels: list[Path]) -> float:
        """CPU seconds to inflate every file and hash what a layer holds, compressed and not: nobody can do less."""
        start = time.process_time()
        for wheel in wheels:
            raw = wheel.read_bytes()
            hashlib.sha256(raw).hexdigest()
            digest = hashlib.sha256()
            with zipfile.ZipFile(wheel) as archive:
                for info in archive.infolist():
                    head = info.header_offset + 30
                    at = head + int.from_bytes(raw[head - 4 : head - 2], "little") + int.from_bytes(raw[head - 2 : head], "little")
                    data = raw[at : at + info.compress_size]
                    digest.update(inflater.decompress(data, -15) if info.compress_type else data)
        return time.process_time() - start

    def dockerfile(self, folder: Path, how: str, *, bytecode: bool) -> Path:
        python = f"/usr/bin/{self.python}"
        compiled = "--compile-bytecode" if bytecode else ""
        sync = f"/uv/uv pip sync -q --offline --preview-features pylock --python /opt/venv/bin/python {compiled} /tmp/pylock.toml"
        without = "" if bytecode else "--no-compile"
        install = {
            "uv": f"/uv/uv venv -q --python {python} /opt/venv && UV_LINK_MODE=copy UV_CACHE_DIR=/cache {sync}",
            "pip": f"PYTHONPATH=/pip {python} -m pip install -q {without} --no-index --no-deps --target /opt/site /wheels/*.whl",
        }[how]
        path = folder / f"Dockerfile.{how}"
        path.write_text(
            f"FROM localhost/bench-base\nCOPY pylock.lading.toml /tmp/pylock.toml\nRUN {install}\nCOPY predict.py cog.yaml /src/\n"
            f'ENV PATH=/opt/venv/bin:/usr/bin:/bin PYTHONPATH=/opt/site\nCMD ["{self.python}"]\n'
        )
        return path

    def engine_build(self, program: str, folder: Path, how: str, name: str, *, bytecode: bool = True) -> None:
        import pip
        import uv

        wheels = self.work / f"wheels-{folder.name}"
        wheels.mkdir(exist_ok=True)
        for wheel in self.wheels(folder):
            if not (wheels / wheel.name).exists():
                os.link(wheel, wheels / wheel.name)
        volumes = {
            Path(uv.find_uv_bin()).parent: "/uv:ro",
            self.work / "uv": "/cache",
            wheels: "/wheels:ro",
            Path(pip.__file__).parent: "/pip/pip:ro",
        }
        flags = [word for source, target in volumes.items() for word in ("-v", f"{source}:{target}")]
        words = [
            "--isolation",
            "chroot",
            "--layers",
            "--network",
            "host",
            *flags,
            "-f",
            self.dockerfile(folder, how, bytecode=bytecode),
            "-t",
            name,
            folder,
        ]
        self.call(program, "bud" if program == "buildah" else "build", *words)

    def warm(self, folder: Path) -> None:
        """Everything that is fetched, is fetched here."""
        import uv

        self.call(*LADING, "build", "-q", "-t", "warm", "--base", self.layout, cwd=folder)
        place = self.work / f"warm-{folder.name}"
        shutil.rmtree(place, ignore_errors=True)
        program = uv.find_uv_bin()
        self.call(program, "venv", "-q", "--python", self.python.removeprefix("python"), place)
        lock = self.work / "pylock.toml"
        shutil.copy(folder / "pylock.lading.toml", lock)
        self.call(program, "pip", "sync", "-q", "--preview-features", "pylock", "--python", place / "bin/python", lock)
        shutil.rmtree(place)

    def run(self, kind: str) -> None:
        print(f"\n{kind}", flush=True)
        folder = self.project(kind)
        self.warm(folder)
        print(f"  bound: {self.bound(self.wheels(folder)):.2f} s of CPU to inflate and hash the wheels once")
        ours, by_buildah, by_podman = (f"{self.host}/{kind}-{who}:1" for who in ("lading", "buildah", "podman"))
        images = {"lading": ours, "buildah": by_buildah, "podman": by_podman}
        for kind_of, bytecode in ((", without bytecode", False), ("", True)):
            self.cold(folder, images, kind_of, bytecode=bytecode)
        self.change(kind, folder, ours, by_buildah)
        self.sizes(images)
        self.starts(kind, images)

    def cold(self, folder: Path, names: dict[str, str], row: str, *, bytecode: bool) -> None:
        """Build and push for the first time, the registry and the engines' caches empty of this kind."""
        self.forget_layers()
        self.fresh_registry()
        words = [*LADING, "build", "-q", "-t", names["lading"], "--base", self.layout, *([] if bytecode else ["--no-bytecode"])]
        self.timed(f"build{row}", "lading", lambda: self.call(*words, cwd=folder))
        self.timed(f"push{row}", "lading", lambda: self.call(*LADING, "push", "-q", names["lading"]))
        for program, how in (("buildah", "uv"), ("podman", "pip")):
            name = names[program]
            self.forget_images()
            self.timed(f"build{row}", program, lambda p=program, h=how, n=name: self.engine_build(p, folder, h, n, bytecode=bytecode))
            self.timed(f"push{row}", program, lambda p=program, n=name: self.call(p, "push", "-q", "--tls-verify=false", n))
        sums = {who: self.results[f"build{row}"][who] + self.results[f"push{row}"][who] for who in names}
        shown = ", ".join(f"{who} {seconds:.1f} s ({seconds / sums['lading']:.1f}x)" for who, seconds in sums.items())
        print(f"  build and push{row}: {shown}", flush=True)

    def change(self, kind: str, folder: Path, ours: str, theirs: str) -> None:
        """One line of the predictor, five times for Lading (the middle one counts), once for buildah, which takes as long each time."""

        def by_buildah() -> None:
            self.engine_build("buildah", folder, "uv", theirs)
            self.call("buildah", "push", "-q", "--tls-verify=false", theirs)

        words = [*LADING, "build", "-q", "-t", ours, "--base", self.layout, "--push"]
        row = "one line changed, build and push"
        seconds = []
        for number in range(2, 7):
            (folder / "predict.py").write_text(PREDICT.format(modules=KINDS[kind][1], number=number))
            start = time.perf_counter()
            self.call(*words, cwd=folder)
            seconds.append(time.perf_counter() - start)
        print(f"  {row:34} {'lading':10} {sorted(seconds)[2]:7.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})", flush=True)
        self.timed(row, "buildah", by_buildah)

    def sizes(self, names: dict[str, str]) -> None:
        for who, name in names.items():
            repository = name.removeprefix(f"{self.host}/").partition(":")[0]
            headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
            request = urllib.request.Request(f"http://{self.host}/v2/{repository}/manifests/1", headers=headers)
            with urllib.request.urlopen(request) as answer:
                layers = json.loads(answer.read())["layers"]
            size = sum(layer["size"] for layer in layers) / 1e6
            print(f"  {'size, with the base':34} {who:10} {size:7.1f} MB in {len(layers)} layers", flush=True)

    def starts(self, kind: str, names: dict[str, str]) -> None:
        """The first import in a fresh container, which is most of a start; three times each, in turn."""
        code = f"import {KINDS[kind][1]}"
        self.call("podman", "pull", "-q", "--tls-verify=false", names["lading"])
        seconds: dict[str, list[float]] = {}
        for _ in range(3):
            for who, name in names.items():
                python = "/opt/venv/bin/python" if who != "podman" else f"/usr/bin/{self.python}"
                start = time.perf_counter()
                self.call("podman", "run", "--rm", "--entrypoint", python, name, "-c", code)
                seconds.setdefault(who, []).append(time.perf_counter() - start)
        for who, found in seconds.items():
            print(f"  {'first import in a container':34} {who:10} {sorted(found)[1]:7.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--base", type=Path, default=Path(".venv/debian"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/lading-bench-images"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.work.resolve(), arguments.base.resolve())
    bench.import_base()
    try:
        for kind in arguments.kinds:
            bench.run(kind)
    finally:
        bench.end_registry()


if __name__ == "__main__":
    main()
