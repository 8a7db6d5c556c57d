"""``lading install`` beside what it stands on and what it replaces, of the same lock. Prints medians in milliseconds and ratios.

    python benchmarks/install.py [--rounds N] [--pip-rounds N] [--sets small,medium,large] [--torch-wheel FILE]

Each set is locked and installed once, outside of the timing: that fills uv's cache and pip's. Then, round by round and in turn:

- ``lading install`` with the environment not in the store;
- ``uv venv --relocatable`` and ``uv pip sync --offline``, as one calls them by hand;
- ``pip install`` of the lock into an environment made beforehand (pip's best case);
- ``lading install`` with nothing to do, beside ``python -c pass``.

The large set is torch and transformers where ``--torch-wheel`` names a wheel of torch for this Python; else packages of about the same
number of files. Resolving needs the package index that uv is configured for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LADING = Path(sys.executable).with_name("lading")
UV = Path(sys.executable).with_name("uv")
GOAL_ABOVE_UV = 100.0
GOAL_BELOW_PIP = 10.0
GOAL_IDLE = 2.5

SETS = {
    "small": ["flask", "numpy"],
    "medium": ["fastapi", "uvicorn[standard]", "pandas", "scikit-learn", "xgboost-cpu"],
    "large": ["transformers", "scipy", "matplotlib", "jupyterlab", "sympy", "botocore", "plotly", "statsmodels"],
}


@dataclass
class Bench:
    """One set's project and everything that its runs write, below one scratch folder."""

    scratch: Path
    environ: dict[str, str]
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.scratch / "project"

    @property
    def lock(self) -> Path:
        return self.project / "pylock.lading.toml"

    def run(self, *command: str | Path) -> None:
        subprocess.run(command, env=self.environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def clear(self) -> None:
        """Forget every environment; what is known about this machine's Pythons stays."""
        for name in ("home/envs", "home/stamps", "by-hand"):
            shutil.rmtree(self.scratch / name, ignore_errors=True)
        os.sync()

    def timed(self, name: str, action: Callable[[], None]) -> None:
        start = time.perf_counter()
        action()
        self.times.setdefault(name, []).append((time.perf_counter() - start) * 1000)

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])

    def lading(self) -> None:
        self.run(LADING, "install", "-q", self.project)

    def by_hand(self) -> None:
        place = self.scratch / "by-hand"
        self.run(UV, "venv", "-q", "--relocatable", "--python", interpreter(), place)
        sync = ("--offline", "--preview-features", "pylock", "--python", place / "bin" / "python", self.lock)
        self.run(UV, "pip", "sync", "-q", *sync)

    def pip(self) -> None:
        python = self.scratch / "for-pip" / "bin" / "python"
        self.run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", self.lock)

    def pip_environment(self) -> None:
        shutil.rmtree(self.scratch / "for-pip", ignore_errors=True)
        self.run(UV, "venv", "-q", "--seed", "--python", interpreter(), self.scratch / "for-pip")

    def nothing(self) -> None:
        self.run(sys.executable, "-c", "pass")


def interpreter() -> str:
    """The Python that Lading chooses here: the one it runs on."""
    return os.path.realpath(sys.executable)


def prepare(scratch: Path, requirements: list[str], wheel: Path | None) -> Bench:
    """Write the project, lock it, fill the caches, and let Python compile Lading once."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")}
    environ |= {"LADING_HOME": str(scratch / "home"), "UV_CACHE_DIR": str(scratch.parent / "uv-cache")}
    bench = Bench(scratch, environ)
    bench.project.mkdir(parents=True)
    lines = list(requirements)
    if wheel:
        (bench.project / "wheels").mkdir()
        shutil.copy(wheel, bench.project / "wheels")
        lines = ["--find-links ./wheels", "torch==" + wheel.name.split("-")[1], *lines[:1]]
    (bench.project / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    (bench.project / "predict.py").write_text("def predict(text: str) -> str:\n    return text\n")
    bench.lading()
    return bench


def measure(bench: Bench, rounds: int, pip_rounds: int) -> None:
    """Every candidate in turn, beginning with another one each round, so that a drifting machine hits all of them alike."""
    actions: dict[str, Callable[[], None]] = {"lading": bench.lading, "uv": bench.by_hand}
    for number in range(rounds):
        for name in sorted(actions, reverse=bool(number % 2)):
            bench.clear()
            bench.timed(name, actions[name])
    bench.lading()
    for _ in range(max(rounds, 10)):
        bench.timed("idle", bench.lading)
        bench.timed("pass", bench.nothing)
    for number in range(pip_rounds + 1 if pip_rounds else 0):
        bench.pip_environment()
        if number:
            bench.timed("pip", bench.pip)
        else:
            bench.pip()  # fills pip's cache


def report(name: str, bench: Bench) -> None:
    """One set's medians and ratios, and whether they meet the goals."""
    packages = bench.lock.read_text().count("[[packages]]")
    files = sum(1 for path in (bench.scratch / "home" / "envs").rglob("*") if path.is_file())
    above = bench.median("lading") - bench.median("uv")
    print(f"{name}: {packages} packages, {files:,} files")
    print(f"  lading install          {bench.median('lading'):9.0f} ms")
    print(f"  uv venv + uv pip sync   {bench.median('uv'):9.0f} ms   lading {above:+.0f} ms {verdict(above <= GOAL_ABOVE_UV, '+100')}")
    if "pip" in bench.times:
        ratio = bench.median("pip") / bench.median("lading")
        print(f"  pip install             {bench.median('pip'):9.0f} ms   {ratio:.1f} x lading {verdict(ratio >= GOAL_BELOW_PIP, '10 x')}")
    idle = bench.median("idle") / bench.median("pass")
    print(f"  nothing to do           {bench.median('idle'):9.1f} ms   {idle:.2f} x python -c pass {verdict(idle <= GOAL_IDLE, '2.5 x')}")


def verdict(holds: bool, goal: str) -> str:  # noqa: FBT001 -- a word for it
    return f"(goal {goal}: {'met' if holds else 'MISSED'})"


def main() -> None:
    """Measure the sets one by one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--pip-rounds", type=int, default=3, help="0 leaves pip out")
    parser.add_argument("--sets", default="small,medium,large")
    parser.add_argument("--torch-wheel", type=Path, help="a wheel of torch for this Python, for the large set")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.sets.split(","):
            wheel = arguments.torch_wheel if name == "large" else None
            bench = prepare(Path(scratch) / name, SETS[name], wheel)
            measure(bench, arguments.rounds, arguments.pip_rounds)
            report(name, bench)
            shutil.rmtree(bench.scratch)


if __name__ == "__main__":
    main()
