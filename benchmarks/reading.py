"""What reading dependency files costs, in milliseconds, and `lading lock` against `uv pip compile` of the same input.

    python benchmarks/reading.py [--rounds N] [--lock]

A requirements file of 500 lines with 20 includes is read and planned: the goal is 50 ms beyond Python's own start, what is loaded for it
included. A uv.lock of 2,000 packages is read and walked for a target: the goal is 300 ms beyond Python's own start. With ``--lock``, `lading
lock` is timed beside `uv pip compile` with warm caches and an index on this machine: the goal is 1.2 times. Times are of the processor, so
that other work on the machine shows less; ``--lock`` prints wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR = "pass"
REQUIREMENTS = """
from lading.model.target import Target
from lading.environments.folder import FolderFiles
from lading.planner.find import find_config
from lading.planner.make import make_plan
from lading.planner.python import choose_python
from lading.planner.sources import choose_sources
from pathlib import Path
files = FolderFiles(Path("."))
config = find_config(files, None, {})
chosen, = choose_sources(config, files, {})
target = Target(python="3.11.7", platform="x86_64-manylinux_2_36")
plan = make_plan(config, chosen, target, files, {})
assert len(plan.requirements) in (1, 500), len(plan.requirements)
"""
LOCK = """
from lading.model.target import Target
from lading.environments.folder import FolderFiles
from lading.formats import uv_lock
from lading.planner.locked import select
from pathlib import Path
files = FolderFiles(Path("."))
target = Target(python="3.11.7", platform="x86_64-manylinux_2_36")
found = select(uv_lock.parse("uv.lock", files), target)
assert len(found) == 2000, len(found)
"""
MARKERS = ("", " ; python_version >= '3.8'", "  # why", " ; sys_platform == 'linux'")


def requirements(folder: Path) -> None:
    """500 lines, 20 of them in each of 20 included files; every fourth has a hash or a marker."""
    (folder / "predict.py").write_text("def predict(number: int = 1) -> int:\n    return number\n")
    own = [line(number) for number in range(100)]
    for include in range(20):
        path = folder / "requirements" / f"part-{include}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(line(100 + include * 20 + number) for number in range(20)) + "\n")
        own.append(f"-r requirements/part-{include}.txt")
    (folder / "requirements.txt").write_text("\n".join(own) + "\n")


def line(number: int) -> str:
    """One requirement, as people write them."""
    version = (f"=={number}.1.2", f">={number}.0,<{number + 1}", f"~={number}.1", "")[number % 4]
    return f"package-{number}{version}{MARKERS[number // 4 % 4]}"


def uv_lock(folder: Path) -> None:
    """2,000 packages, each with a source distribution, four wheels, and three needs."""
    parts = [
        'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "app"\nversion = "0.1"\nsource = { virtual = "." }\ndependencies = ['
    ]
    parts += [f'    {{ name = "pkg-{number}" }},' for number in range(0, 2000, 2)]
    parts.append("]\n")
    for number in range(2000):
        needs = "".join(f'    {{ name = "pkg-{need}" }},\n' for need in range(number + 1, min(number + 4, 2000)))
        files = "".join(f"    {file(number, build)},\n" for build in range(4))
        parts.append(
            f'[[package]]\nname = "pkg-{number}"\nversion = "1.2.3"\nsource = {{ registry = "https://pypi.org/simple" }}\n'
            f"dependencies = [\n{needs}]\nsdist = {file(number, 9)}\nwheels = [\n{files}]\n"
        )
    (folder / "uv.lock").write_text("\n".join(parts))


def file(number: int, build: int) -> str:
    """One file of a lock, as uv writes it."""
    digest = f"{number * 100 + build:064x}"
    url = f"https://files.pythonhosted.org/packages/{digest[:2]}/{digest}/pkg_{number}-1.2.3-cp31{build}-cp31{build}-manylinux_2_17_x86_64.whl"
    return f'{{ url = "{url}", hash = "sha256:{digest}", size = 12345, upload-time = "2025-01-01T00:00:00.123Z" }}'


def timed(code: str, folder: Path) -> float:
    """Processor time of one Python process, in milliseconds; what Python compiles is kept, as it is for users."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environ)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"the measured process ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def compare(rounds: int) -> None:
    """Each round runs all of them, so that a drifting machine hits them alike."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch, name) for name in ("line", "requirements", "lock")}
        for folder in folders.values():
            folder.mkdir()
        requirements(folders["requirements"])
        (folders["line"] / "predict.py").write_text((folders["requirements"] / "predict.py").read_text())
        (folders["line"] / "requirements.txt").write_text("package-1 >= 1\n")
        uv_lock(folders["lock"])
        start, line_, many, lock = (
            "python -c pass",
            "1 line: read and plan",
            "500 lines, 20 includes: read and plan",
            "uv.lock of 2,000: read and select",
        )
        runs = {
            start: (FLOOR, folders["line"]),
            line_: (REQUIREMENTS, folders["line"]),
            many: (REQUIREMENTS, folders["requirements"]),
            lock: (LOCK, folders["lock"]),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _round in range(rounds):
            for name, (code, folder) in runs.items():
                times[name].append(timed(code, folder))
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:40} {median[name]:8.1f} ms   best {min(values):8.1f} ms")
    print(f"500 lines beyond Python's start          {median[many] - median[start]:+8.1f} ms   (goal: +50)")
    print(f"500 lines beyond 1 line                  {median[many] - median[line_]:+8.1f} ms")
    print(f"the lock beyond Python's start           {median[lock] - median[start]:+8.1f} ms   (goal: +300)")


def against_uv(rounds: int) -> None:
    """`lading lock` and `uv pip compile` of the same requirements, in turn, with an index on this machine and warm caches."""
    sys.path.insert(0, str(ROOT))
    import uv
    from tests.support.index import LocalIndex

    with tempfile.TemporaryDirectory() as scratch, LocalIndex() as index:
        folder = Path(scratch, "project")
        folder.mkdir()
        names = [f"package-{number}" for number in range(40)]
        for number, name in enumerate(names):
            index.add(name, "1.0", requires=names[number + 1 : number + 4])
        (folder / "predict.py").write_text("def predict(number: int = 1) -> int:\n    return number\n")
        (folder / "requirements.txt").write_text(f"--index-url {index.url}\n" + "\n".join(names[::2]) + "\n")
        environ = {**os.environ, "LADING_HOME": str(Path(scratch, "home")), "UV_CACHE_DIR": str(Path(scratch, "cache"))}
        lading = [str(Path(sys.executable).with_name("lading")), "lock", "-q", "--upgrade", str(folder)]
        bare = [uv.find_uv_bin(), "pip", "compile", "-q", "--generate-hashes", "--no-header", "--python", sys.executable]
        bare += ["-o", str(Path(scratch, "out.txt")), str(folder / "requirements.txt")]
        times: dict[str, list[float]] = {"uv pip compile": [], "lading lock": []}
        for round_ in range(rounds + 1):
            for name, command in (("uv pip compile", bare), ("lading lock", lading)):
                start = time.perf_counter()
                subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                if round_:  # the first one fills the caches
                    times[name].append((time.perf_counter() - start) * 1000)
    floor = statistics.median(times["uv pip compile"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:44} {median:8.1f} ms   {median / floor:5.2f} x")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--lock", action="store_true")
    arguments = parser.parse_args()
    if arguments.lock:
        against_uv(arguments.rounds)
    else:
        compare(arguments.rounds)


if __name__ == "__main__":
    main()
