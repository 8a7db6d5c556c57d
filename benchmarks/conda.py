"""Conda packages by Lading beside py-rattler called bare, on a channel made here. Prints medians and best times in milliseconds, and ratios.

    python benchmarks/conda.py [--rounds N] [--packages N] [--files N] [--names N]

The channel holds a CPython of this machine and ``--packages`` more packages, each with ``--files`` files and dependencies on earlier ones, a
hundred versions of every tenth among them, and ``--names`` packages that nobody asks for, four versions of each, as a public channel has. Then,
round by round and in any order:

- *solve*: ``lading.resolvers.conda.solve`` of a plan, beside ``rattler.solve`` of the same specifications with the same caches;
- *install*: linking the solution into the store (`lading.environments.store.create_environment`, the pip part empty), beside
  ``rattler.install`` of the same records from the same package cache;
- *nothing to do*: a second ``lading install`` of the unchanged project, beside ``python -c pass``.

Times of the processor (this process, its threads and children) stand beside those of the clock: they say more on a machine that does other things.
``micromamba`` and ``conda`` are timed as well where they are on PATH. The goals: at most 10 % above py-rattler, and a second run under 150 ms.
What Lading adds does not grow with the environment (it starts the prefix's Python once, and writes records), so the share depends on its
size: about 18,000 files, as a scientific environment has, by default. ``TMPDIR=/dev/shm`` keeps the disk's moods out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.conda_channel import Channel, what_is_missing

from lading import pipeline
from lading.environments.home import home
from lading.environments.store import prune
from lading.resolvers.conda import CondaOptions, record_of, solve
from lading.resolvers.conda_client import caches

GOAL_ABOVE_RATTLER = 10.0
GOAL_IDLE = 150.0
PYTHON = platform.python_version()
MINOR = ".".join(PYTHON.split(".")[:2])


def make_channel(folder: Path, count: int, files_each: int, names: int) -> Channel:
    """A CPython, packages that need one another, and ``names`` that nobody asks for."""
    channel = Channel(folder / "channel")
    channel.add_cpython(Path(sys.base_prefix), PYTHON)
    for number in range(count):
        needs = [f"package-{other}" for other in (number // 2, number // 3) if 0 < other < number]
        files = {f"package_{number}/part_{part}.py": f"VALUE = {part}\n" * 40 for part in range(files_each)}
        for version in range(100 if number % 10 == 0 else 1):
            content = files if version == 0 else {}
            channel.add_python_package(f"package-{number}", f"1.{99 - version}", depends=needs, files=content)
    channel.index()
    for subdir in ("noarch", "linux-64"):
        _add_names(channel.folder / subdir, names // 2)
    return channel


def _add_names(folder: Path, count: int) -> None:
    """Tell of packages in the index alone; it is read as a channel of files has it, without rattler's shards of it."""
    path = folder / "repodata.json"
    index = json.loads(path.read_bytes())
    for number in range(count):
        name = f"other-{folder.name}-{number}"
        record = {
            "name": name,
            "build": "0",
            "build_number": 0,
            "subdir": folder.name,
            "depends": ["python"],
            "sha256": "0" * 64,
            "size": 1,
        }
        index["packages.conda"] |= {f"{name}-1.{version}-0.conda": {**record, "version": f"1.{version}"} for version in range(4)}
    path.write_text(json.dumps(index))
    for other in folder.glob("repodata*"):
        if other != path:
            shutil.rmtree(other) if other.is_dir() else other.unlink()


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds by the clock, and of the processor."""

    clock: float
    processor: float


def timed(action: Callable[[], object]) -> Took:
    started, used = time.perf_counter(), _used()
    action()
    return Took((time.perf_counter() - started) * 1000, (_used() - used) * 1000)


def _used() -> float:
    all_of_it = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in all_of_it)


class Bench:
    """The project, and both ways to its environment."""

    def __init__(self, scratch: Path, count: int, files_each: int, names: int = 0) -> None:
        self.channel = make_channel(scratch, count, files_each, names)
        self.project = scratch / "project"
        self.project.mkdir()
        lines = [f"python={MINOR}", *(f"package-{number}" for number in range(count - 30, count))]
        text = f"channels: ['{self.channel.url}', nodefaults]\ndependencies:\n" + "".join(f"  - {line}\n" for line in lines)
        (self.project / "environment.yml").write_text(text)
        (self.project / "predict.py").write_text("def predict(number: int = 1) -> int:\n    return number\n")
        self.options = pipeline.Options(directory=self.project)
        self.read = pipeline.read(self.options)
        (self.planned,) = pipeline.plan(self.read, self.options)
        (self.locked,) = pipeline.lock((self.planned,), self.read, self.options)
        self.caches = caches(home(), os.environ)
        self.scratch = scratch

    def solve(self) -> None:
        solve(self.planned.plan, self.project, CondaOptions(caches=self.caches))

    def solve_bare(self) -> None:
        import rattler

        conda = self.planned.plan.conda
        assert conda is not None

        async def run() -> None:
            gateway = rattler.Gateway(cache_dir=Path(self.caches.repodata))
            specs = [rattler.MatchSpec(spec.match, strict=False) for spec in conda.specs]
            virtual = [rattler.GenericVirtualPackage(*_parts(one)) for one in conda.virtual]
            await rattler.solve([self.channel.url], specs, gateway=gateway, platforms=["linux-64", "noarch"], virtual_packages=virtual)

        asyncio.run(run())

    def install(self) -> None:
        pipeline.install((self.locked,), self.read, self.options)

    def install_bare(self) -> None:
        import rattler

        conda = self.locked.lock.conda
        assert conda is not None

        async def run() -> None:
            records = [record_of(package, self.project) for package in conda.packages]
            await rattler.install(records, self.scratch / "bare", cache_dir=Path(self.caches.packages), show_progress=False)

        asyncio.run(run())

    def clear(self) -> None:
        prune()
        shutil.rmtree(self.scratch / "bare", ignore_errors=True)

    def idle(self) -> None:
        subprocess.run([sys.executable, "-m", "lading", "install", "-q", "-C", str(self.project)], check=True, stdout=subprocess.DEVNULL)


def _parts(text: str) -> Any:
    import rattler

    name, version, build = text.split("=")
    return rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)


def others(bench: Bench) -> dict[str, list[str]]:
    """Other programs that are here, with the command that makes the same environment."""
    conda = bench.locked.lock.conda
    assert conda is not None
    explicit = bench.scratch / "explicit.txt"
    explicit.write_text(conda.explicit(str(bench.project)))
    target = str(bench.scratch / "other")
    commands = {
        "micromamba": ["micromamba", "create", "-y", "-q", "-p", target, "--file", str(explicit)],
        "conda": ["conda", "create", "-y", "-q", "-p", target, "--file", str(explicit)],
    }
    return {name: command for name, command in commands.items() if shutil.which(name)}


def show(name: str, times: list[Took], beside: list[Took] | None = None) -> None:
    clock, processor = [took.clock for took in times], [took.processor for took in times]
    line = f"{name:30} {statistics.median(clock):7.1f} ms, best {min(clock):7.1f}; processor {statistics.median(processor):7.1f} ms"
    if beside is not None:
        other, used = [took.clock for took in beside], [took.processor for took in beside]
        ratios = [
            statistics.median(clock) / statistics.median(other),
            min(clock) / min(other),
            statistics.median(processor) / statistics.median(used),
        ]
        line += "   {:+.1f} %, best {:+.1f} %, processor {:+.1f} %".format(*((ratio - 1) * 100 for ratio in ratios))
    print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--packages", type=int, default=200)
    parser.add_argument("--names", type=int, default=20_000, help="further names in the channel's index")
    parser.add_argument("--files", type=int, default=200, help="files of each package; 20 makes a very small environment")
    arguments = parser.parse_args()
    reason = what_is_missing()
    if reason:
        print(f"not measured: {reason}")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LADING_HOME"] = f"{folder}/home"
        bench = Bench(Path(folder), arguments.packages, arguments.files, arguments.names)
        (environment,) = pipeline.install((bench.locked,), bench.read, bench.options)
        files = sum(path.is_file() for path in Path(environment.environment.path).rglob("*"))
        times: dict[str, list[Took]] = {name: [] for name in ("solve", "bare solve", "install", "bare install", "idle", "python")}
        extra: dict[str, list[Took]] = {name: [] for name in others(bench)}
        pairs: list[tuple[str, Callable[[], None]]] = [
            ("bare solve", bench.solve_bare),
            ("solve", bench.solve),
            ("bare install", bench.install_bare),
            ("install", bench.install),
        ]
        for _round in range(arguments.rounds):
            for name, action in random.sample(pairs, len(pairs)):
                bench.clear()
                os.sync()  # what one run leaves to be written to the disk would slow the next
                times[name].append(timed(action))
            for name, command in others(bench).items():
                extra[name].append(timed(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)))
                shutil.rmtree(bench.scratch / "other", ignore_errors=True)
        for _round in range(arguments.rounds):
            bench.idle()
            times["python"].append(timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))
            times["idle"].append(timed(bench.idle))
        report(times, extra, f"{len(bench.locked.lock.conda.packages) if bench.locked.lock.conda else 0} packages, {files} files")
    return 0


def report(times: dict[str, list[Took]], extra: dict[str, list[Took]], what: str) -> None:
    print(f"{what}, Python {PYTHON}, {os.cpu_count()} cores")
    show("solve, py-rattler bare", times["bare solve"])
    show("solve, Lading", times["solve"], times["bare solve"])
    show("install, py-rattler bare", times["bare install"])
    show("install, Lading", times["install"], times["bare install"])
    both, bare = (
        [
            Took(solve.clock + install.clock, solve.processor + install.processor)
            for solve, install in zip(times[one], times[other], strict=True)
        ]
        for one, other in (("solve", "install"), ("bare solve", "bare install"))
    )
    show("solve and install, Lading", both, bare)
    show("python -c pass", times["python"])
    show("lading install, nothing to do", times["idle"])
    for name, found in extra.items():
        show(f"{name} create --file", found)
    print(f"goals: at most +{GOAL_ABOVE_RATTLER:.0f} % for both together, nothing to do under {GOAL_IDLE:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
