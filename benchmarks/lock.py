"""What ``lading lock`` costs beside ``uv pip compile`` of the same input. Prints medians: wall time, the ratio, and the processor's time.

    python benchmarks/lock.py [--rounds N] [--lines N] [PROJECT]

Without PROJECT, requirements files with includes are made, and an index on loopback (a process of its own) has their packages. With
PROJECT (a folder with a requirements.txt), its own indexes answer. "cold" is with an empty cache of uv's, "warm" with a full one. On a machine
with other work the processor's time is the number to compare: the difference is what Lading adds, whoever else runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LADING = Path(sys.executable).with_name("lading")
UV = Path(sys.executable).with_name("uv")
PREDICTOR = "def predict(x: int) -> int:\n    return x\n"
_SERVER = """
import sys, time
sys.path.insert(0, {root!r})
from tests.support.index import LocalIndex
with LocalIndex() as index:
    for number in range({count}):
        for version in ("1.0", "1.1", "2.0"):
            index.add(f"package-{{number}}", version, requires=[f"base-{{number % 10}}>=1"])
    for number in range(10):
        index.add(f"base-{{number}}", "1.0")
    print(index.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def index(count: int) -> Iterator[str]:
    """An index with packages that need one another; its URL."""
    command = [sys.executable, "-c", _SERVER.format(root=str(ROOT), count=count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def make_project(folder: Path, lines: int, url: str) -> None:
    """A requirements.txt with ``lines`` requirements, most of them in 20 included files."""
    folder.mkdir()
    (folder / "predict.py").write_text(PREDICTOR)
    includes = min(20, max(1, lines // 10))
    root = [f"--index-url {url}\n", *(f"-r more/{number}.txt\n" for number in range(includes))]
    (folder / "requirements.txt").write_text("".join(root))
    (folder / "more").mkdir()
    for number in range(includes):
        own = range(number, lines, includes)
        spelled = (f"package-{one}{('==1.1', '>=1.0,<2', '', '~=1.0')[one % 4]}  # line {one}\n" for one in own)
        (folder / "more" / f"{number}.txt").write_text("".join(spelled))


def timed(command: list[str], environ: dict[str, str], folder: Path) -> tuple[float, float]:
    """Wall time of one run, and the processor's time of it and of what it started, in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def compare(name: str, project: Path, scratch: Path, rounds: int, *, cold: bool) -> None:
    """Both in turn, round by round, so that a drifting machine hits both alike."""
    python = ".".join(map(str, sys.version_info[:3]))
    times: dict[str, list[tuple[float, float]]] = {"uv": [], "lading": []}
    for number in range(rounds + 1):
        for tool, spent in times.items():
            cache = scratch / (f"cache-{tool}-{number}" if cold else f"cache-{tool}")
            output = scratch / f"out-{number}"
            output.mkdir(exist_ok=True)
            (project / "pylock.lading.toml").unlink(missing_ok=True)
            (output / "pylock.toml").unlink(missing_ok=True)
            environ = {**os.environ, "UV_CACHE_DIR": str(cache), "LADING_HOME": str(scratch / "home")}
            for name_ in ("PIP_FIND_LINKS", "PYTHONDONTWRITEBYTECODE"):
                environ.pop(name_, None)
            compile_ = [str(UV), "pip", "compile", "--no-config", "--python", sys.executable, "--python-version", python]
            commands = {
                "uv": [*compile_, "requirements.txt", "--format", "pylock.toml", "-o", str(output / "pylock.toml")],
                "lading": [str(LADING), "lock", "-q", "."],
            }
            seconds = timed(commands[tool], environ, project)
            if number:  # the first round fills caches and compiles Python's files
                spent.append(seconds)
    (theirs, their_cpu), (ours, our_cpu) = (
        (statistics.median(wall for wall, _ in times[tool]), statistics.median(cpu for _, cpu in times[tool])) for tool in ("uv", "lading")
    )
    more, more_cpu = (ours - theirs) * 1000, (our_cpu - their_cpu) * 1000
    print(
        f"{name:28} uv pip compile {theirs:6.2f} s   lading lock {ours:6.2f} s   {ours / theirs:5.2f} x   ({more:+.0f} ms; of the processor {more_cpu:+.0f} ms)"
    )


def main() -> None:
    """Make the input, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, nargs="+", default=[30, 500])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if arguments.project:
            project = Path(arguments.project).resolve()
            for cold in (True, False):
                compare(f"{project.name}, {'cold' if cold else 'warm'}", project, scratch, arguments.rounds, cold=cold)
            return
        with index(max(arguments.lines)) as url:
            for lines in arguments.lines:
                make_project(scratch / f"lines-{lines}", lines, url)
                for cold in (True, False):
                    where = scratch / f"{lines}-{cold}"
                    where.mkdir()
                    compare(f"{lines} lines, {'cold' if cold else 'warm'}", scratch / f"lines-{lines}", where, arguments.rounds, cold=cold)


if __name__ == "__main__":
    main()
