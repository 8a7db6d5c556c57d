"""Building and pushing an image, side by side with ``buildah bud`` (uv inside, warm cache) and ``podman build`` (pip), in one run.

    python benchmarks/images.py --base .venv/debian [sklearn] [torch]

Needs podman, buildah and docker-registry, a base with a Python (a folder made by debootstrap, as ``.ci/run`` makes it), and an index that has
the packages; they are fetched once, into ``--work``, and not measured. Everything else is: each build begins with the packages at hand, as
files in Lading's store, in uv's cache, and as wheels for pip, and with the base imported: as an image of the engines', as a layout for Lading.
No layer is kept on any side; each has an empty registry to itself. Bytecode is compiled by all or by none. buildah makes the image of
``lading build --dockerfile``, so that both hold the same server and the same service; podman's has the packages and the project alone. Lading
compiles no folders of tests, which uv and pip do.

Each is run ``--rounds`` times, in turn, and the quickest counts. Seconds of the processor are those of the command and what it started; the
registries' count for none. On a machine with other work to do they tell more than the clock. The Python of the base compiles for buildah and
podman, this one for Lading: run it with one of the same version, and built as well, to compare like with like.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

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
ROOT = Path(__file__).resolve().parents[1]
INFLATE = """
import hashlib, sys, time, zipfile
try:
    from isal import isal_zlib as inflater
except ImportError:
    import zlib as inflater
start = time.process_time()
for path in sys.argv[1:]:
    with open(path, "rb") as stream:
        raw = stream.read()
    hashlib.sha256(raw).hexdigest()
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            head = info.header_offset + 30
            at = head + int.from_bytes(raw[head - 4 : head - 2], "little") + int.from_bytes(raw[head - 2 : head], "little")
            data = raw[at : at + info.compress_size]
            digest.update(inflater.decompress(data, -15) if info.compress_type else data)
print(time.process_time() - start)
"""
COMPILE = """
import sys, time, zipfile
start = time.process_time()
for path in sys.argv[1:]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py") and not {"test", "tests"}.intersection(name.split("/")):
                try:
                    compile(archive.read(name), name, "exec", dont_inherit=True, optimize=0)
                except Exception:
                    pass
print(time.process_time() - start)
"""
WITHOUT, WITH = "build and push, no bytecode", "build and push"
AHEAD, BOUND = 7.0, 2.0
"""The goals: so many times as fast as buildah, and no more than so many times the bound."""


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
        self.results: dict[str, dict[str, tuple[float, float]]] = {}
        # Each has a registry to itself: from a shared one an engine takes what another has pushed.
        self.hosts = {who: f"127.0.0.1:{_free_port()}" for who in ("lading", "podman", "buildah")}
        self.written = ""
        self.bounds: dict[str, float] = {}
        self.serving: list[subprocess.Popen[bytes]] = []

    def _engines(self) -> dict[str, str]:
        place = self.work / "engines"
        place.mkdir(parents=True, exist_ok=True)
        path = f"{os.environ['PATH']}:/usr/sbin"
        (place / "containers.conf").write_text(CONTAINERS.format(runtime="runc" if shutil.which("runc", path=path) else "crun"))
        (place / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n')
        return {"CONTAINERS_CONF": f"{place}/containers.conf", "CONTAINERS_STORAGE_CONF": f"{place}/storage.conf", "PATH": path}

    def call(self, *words: Any, cwd: Path | None = None, check: bool = True) -> str:
        return self.measured(*words, cwd=cwd, check=check)[0]

    def measured(self, *words: Any, cwd: Path | None = None, check: bool = True) -> tuple[str, float, int]:
        """What a command prints, the processor's seconds that it and its children took, and the most memory of one of them, in bytes."""
        out, errors = (self.work / name for name in ("out", "errors"))
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            command = [str(word) for word in words]
            process = subprocess.Popen(command, cwd=cwd or self.work, env=self.env, stdout=stdout, stderr=stderr)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if check and process.returncode:
            raise SystemExit(f"{words}\n{out.read_text()[-3000:]}{errors.read_text()[-3000:]}")
        return out.read_text(), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024

    def timed(self, row: str, column: str, *commands: tuple[list[Any], Path]) -> None:
        """Run commands, one after the other; the quickest of several runs of a row is kept."""
        start, processor, memory = time.perf_counter(), 0.0, 0
        for words, cwd in commands:
            _, seconds, most = self.measured(*words, cwd=cwd)
            processor, memory = processor + seconds, max(memory, most)
        wall = time.perf_counter() - start
        known = self.results.setdefault(row, {}).get(column, (wall, processor))
        self.results[row][column] = (min(wall, known[0]), min(processor, known[1]))
        load = os.getloadavg()[0]
        print(f"  {row:34} {column:8} {wall:7.2f} s {processor:7.2f} s of CPU {memory / 1e6:6.0f} MB at most (load {load:.0f})", flush=True)

    def fresh_registries(self) -> None:
        """Registries that have nothing, at the addresses that they had before."""
        self.end_registries()
        program = shutil.which("docker-registry", path=self.env["PATH"]) or "docker-registry"
        for who, host in self.hosts.items():
            place = self.work / "registries" / who
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            config = place / "registry.yml"
            storage = f"storage: {{filesystem: {{rootdirectory: {place}/data}}}}"
            config.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: '{host}'}}\n")
            self.serving.append(subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(1)

    def end_registries(self) -> None:
        for serving in self.serving:
            serving.terminate()
            serving.wait()
        self.serving.clear()

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
        # Modules are compiled by the release that the lock was made with: this one's.
        (folder / "pylock.lading.toml").unlink(missing_ok=True)
        self.call(*LADING, "lock", "-q", cwd=folder)
        return folder

    def forget_layers(self) -> None:
        """As on the first day, with the packages' files at hand; the base is kept, as the engines keep theirs."""
        images = self.work / "home" / "images"
        for path in (images / "layers").glob("*.json"):
            path.unlink()
        base = {path.name for path in (self.work / "base/blobs/sha256").iterdir()}
        for path in (images / "blobs/sha256").iterdir():
            if path.name not in base:
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

    def own_wheels(self) -> list[Path]:
        """Of the server, which is in the image as well."""
        names = {re.sub("[-_.]+", "_", pin.partition("==")[0]) for pin in self.pins()}
        return [path for path in (self.work / "home/images/wheels").glob("*/*.whl") if path.name.partition("-")[0].lower() in names]

    def pins(self) -> list[str]:
        """What the server is made of, by the Dockerfile."""
        found = re.search(r"uv pip install --no-deps .*", self.written)
        return [word for word in found[0].split() if "==" in word] if found else []

    def bound(self, folder: Path) -> None:
        """CPU seconds that nobody can do without; with bytecode, compiling each module once, by the Python that Lading compiles with."""
        wheels = [*self.wheels(folder), *self.own_wheels()]
        inflated, compiled = (float(self.call(sys.executable, "-c", code, *wheels)) for code in (INFLATE, COMPILE))
        print(
            f"  bound: {inflated:.2f} s of CPU to inflate and hash the wheels once, {compiled:.2f} s to compile their modules", flush=True
        )
        for row, seconds in ((WITHOUT, inflated), (WITH, inflated + compiled)):
            self.bounds[row] = min(seconds, self.bounds.get(row, seconds))

    def equivalent(self, folder: Path, *, bytecode: bool) -> Path:
        """The Dockerfile that Lading writes, with uv, its cache and the server's wheels from this machine."""
        text = self.written
        exported = f"export PATH=/uv:$PATH UV_OFFLINE=1 UV_LINK_MODE=copy UV_CACHE_DIR=/cache UV_FIND_LINKS={self.work}/dist; "
        text = re.sub(r"^COPY --from=ghcr.*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"^RUN --mount=type=cache\S+ --mount=type=secret\S+ ", f"RUN {exported}", text, flags=re.MULTILINE)
        text = text.replace("uv pip install --no-deps", "uv pip install --no-index --no-deps")
        path = self.work / f"Dockerfile.{folder.name}.uv"
        path.write_text(text if bytecode else text.replace("--compile-bytecode ", ""))
        return path

    def by_pip(self, folder: Path, *, bytecode: bool) -> Path:
        python = f"/usr/bin/{self.python}"
        flags = f"-q {'' if bytecode else '--no-compile'} --no-index --no-deps --target /opt/site"
        path = self.work / f"Dockerfile.{folder.name}.pip"
        path.write_text(
            f"FROM localhost/bench-base\nRUN PYTHONPATH=/pip {python} -m pip install {flags} /wheels/*.whl\n"
            f'COPY predict.py cog.yaml /src/\nENV PATH=/usr/bin:/bin PYTHONPATH=/opt/site\nCMD ["{self.python}"]\n'
        )
        return path

    def engine_commands(self, program: str, folder: Path, name: str, *, bytecode: bool = True) -> list[tuple[list[Any], Path]]:
        import pip

        wheels = self.work / f"wheels-{folder.name}"
        wheels.mkdir(exist_ok=True)
        for wheel in self.wheels(folder):
            if not (wheels / wheel.name).exists():
                os.link(wheel, wheels / wheel.name)
        dockerfile = (self.equivalent if program == "buildah" else self.by_pip)(folder, bytecode=bytecode)
        volumes = {
            self.work / "uv-program": "/uv:ro",
            self.work / "uv": "/cache",
            wheels: "/wheels:ro",
            self.work / "dist": f"{self.work}/dist:ro",
            Path(pip.__file__).parent: "/pip/pip:ro",
        }
        flags = [word for source, target in volumes.items() for word in ("-v", f"{source}:{target}")]
        verb = "bud" if program == "buildah" else "build"
        build = [program, verb, "--isolation", "chroot", "--layers", "--network", "host", *flags, "-f", dockerfile, "-t", name, folder]
        return [(build, self.work), ([program, "push", "-q", "--tls-verify=false", name], self.work)]

    def warm(self, folder: Path) -> None:
        """Everything that is fetched, is fetched here."""
        import uv

        self.call(*LADING, "build", "-q", "-t", "warm", "--base", self.layout, cwd=folder)
        self.written = self.call(*LADING, "build", "-q", "--dockerfile", "--base", "localhost/bench-base", cwd=folder)
        dist = self.work / "dist"
        dist.mkdir(exist_ok=True)
        program = uv.find_uv_bin()
        alone = self.work / "uv-program"  # beside it may lie a Python
        alone.mkdir(exist_ok=True)
        shutil.copy(program, alone / "uv")
        if not list(dist.glob("lading-*.whl")):
            self.call(program, "build", "-q", "--wheel", "-o", dist, ROOT)
        for wheel in self.own_wheels():
            if not (dist / wheel.name).exists():
                os.link(wheel, dist / wheel.name)
        place = self.work / f"warm-{folder.name}"
        shutil.rmtree(place, ignore_errors=True)
        self.call(program, "venv", "-q", "--python", self.python.removeprefix("python"), place)
        lock = self.work / "pylock.toml"
        shutil.copy(folder / "pylock.lading.toml", lock)
        into = ["--python", place / "bin/python"]
        self.call(program, "pip", "sync", "-q", "--preview-features", "pylock", *into, lock)
        self.call(program, "pip", "install", "-q", "--no-deps", "--no-index", "--find-links", dist, *into, *self.pins())
        shutil.rmtree(place)

    def run(self, kind: str, peers: list[str], rounds: int) -> None:
        print(f"\n{kind}, Lading on Python {sys.version.split()[0]}", flush=True)
        folder = self.project(kind)
        self.warm(folder)
        self.results, self.bounds = {}, {}
        # buildah comes last, so that its layers are there when a line changes.
        images = {who: f"{self.hosts[who]}/{kind}-{who}:1" for who in ("lading", *sorted(peers, reverse=True))}
        for _ in range(rounds):
            self.bound(folder)
            for row in (WITHOUT, WITH):
                self.cold(folder, images, row)
        for row, bound in self.bounds.items():
            self.verdict(row, bound)
        self.change(kind, folder, images)
        self.sizes(images)
        self.starts(images)

    def cold(self, folder: Path, names: dict[str, str], row: str) -> None:
        """Build and push for the first time, the registry and the engines' caches empty of this kind."""
        self.forget_layers()
        self.fresh_registries()
        words = [*LADING, "build", "-q", "-t", names["lading"], "--base", self.layout, "--push"]
        self.timed(row, "lading", ([*words, *([] if row == WITH else ["--no-bytecode"])], folder))
        for program in (who for who in names if who != "lading"):
            self.forget_images()
            self.timed(row, program, *self.engine_commands(program, folder, names[program], bytecode=row == WITH))

    def verdict(self, row: str, bound: float) -> None:
        found = self.results[row]
        wall, processor = found["lading"]
        for who, (their_wall, their_processor) in found.items():
            if who != "lading":
                ahead = f"{their_wall / wall:.1f} times as long, {their_processor / processor:.1f} times the CPU"
                print(f"  {row}: {who} takes {ahead}{_goal(their_wall / wall >= AHEAD, f'{AHEAD:.0f} times')}", flush=True)
        shown = f"{processor / bound:.1f} times the bound in CPU, {wall / bound:.1f} on the clock"
        print(f"  {row}: {shown}{_goal(processor / bound <= BOUND, f'{BOUND:.0f} times')}", flush=True)

    def change(self, kind: str, folder: Path, names: dict[str, str]) -> None:
        """One line of the predictor, five times each, in turn; all else is there."""
        row = "one line changed, build and push"
        for number in range(2, 7):
            (folder / "predict.py").write_text(PREDICT.format(modules=KINDS[kind][1], number=number))
            self.timed(row, "lading", ([*LADING, "build", "-q", "-t", names["lading"], "--base", self.layout, "--push"], folder))
            if "buildah" in names:
                self.timed(row, "buildah", *self.engine_commands("buildah", folder, names["buildah"]))
        print(f"  {row}: {self.results[row]['lading'][0]:.2f} s{_goal(self.results[row]['lading'][0] <= 0.2, '0.2 s')}", flush=True)

    def sizes(self, names: dict[str, str]) -> None:
        found = {}
        for who, name in names.items():
            host, _, tagged = name.partition("/")
            repository = tagged.partition(":")[0]
            headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
            request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/1", headers=headers)
            with urllib.request.urlopen(request) as answer:
                layers = json.loads(answer.read())["layers"]
            found[who] = sum(layer["size"] for layer in layers)
            print(f"  {'size, with the base':34} {who:8} {found[who] / 1e6:7.1f} MB in {len(layers)} layers", flush=True)
        best = min(found[who] for who in found if who != "lading") if len(found) > 1 else 0
        if best:
            print(
                f"  size: {found['lading'] / best:.2f} of the best of the others{_goal(found['lading'] <= best, 'no larger')}", flush=True
            )

    def starts(self, names: dict[str, str]) -> None:
        """From ``podman run`` to the first READY, of the same service, five times each, in turn."""
        row = "from podman run to READY"
        self.call("podman", "pull", "-q", "--tls-verify=false", names["lading"])
        seconds: dict[str, list[float]] = {}
        for _ in range(5):
            for who in ("lading", *(["buildah"] if "buildah" in names else [])):
                seconds.setdefault(who, []).append(self.until_ready(names[who]))
        for who, found in seconds.items():
            print(f"  {row:34} {who:8} {min(found):7.2f} s, in the middle {sorted(found)[2]:.2f} s", flush=True)
        if "buildah" in seconds:
            ratio = min(seconds["lading"]) / min(seconds["buildah"])
            print(f"  {row}: {ratio:.2f} of buildah's{_goal(ratio <= 1.05, 'no slower')}", flush=True)

    def until_ready(self, name: str) -> float:
        port = _free_port()
        start = time.perf_counter()
        made = self.call("podman", "run", "-d", "--read-only", "--tmpfs", "/tmp", "-p", f"127.0.0.1:{port}:5000", name).strip()
        try:
            while time.perf_counter() - start < 120:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health-check", timeout=5) as answer:
                        if json.loads(answer.read())["status"] == "READY":
                            return time.perf_counter() - start
                except OSError:
                    pass
                time.sleep(0.01)
            raise SystemExit(f"{name} is not ready after two minutes: {self.call('podman', 'logs', made, check=False)}")
        finally:
            self.call("podman", "rm", "-f", "-t", "0", made, check=False)


def _goal(is_met: object, text: str) -> str:
    return f" (goal: {text}, {'met' if is_met else 'missed'})"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--base", type=Path, default=Path(".venv/debian"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/lading-bench-images"))
    parser.add_argument("--rounds", type=int, default=2, help="how often each builds")
    parser.add_argument("--peers", nargs="*", default=["buildah", "podman"], help="beside whom")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.work.resolve(), arguments.base.resolve())
    bench.import_base()
    try:
        for kind in arguments.kinds:
            bench.run(kind, arguments.peers, arguments.rounds)
    finally:
        bench.end_registries()


if __name__ == "__main__":
    main()
