"""What a node pays for a project's environment: the first time, with the wheels in its cache, and when the environment is there.

    python benchmarks/cluster/materialise.py [REQUIREMENT ...]

The requirements (default: three packages with large wheels) are locked, and packed with a project as a bundle. Then the bundle is unpacked
and materialised as a node of an engine does it, by processes of their own, with a store that is empty and a cache of downloads that is empty (cold),
with that cache (another store), and again (warm). Downloads come from the package index that is configured here, so the first number is the network's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lading import pipeline
from lading.deploy.bundle import make_bundle, pack

PACKAGES = ("numpy==2.2.6", "pandas==2.2.3", "scikit-learn==1.6.1")
PREDICT = "import sklearn\nfrom cog import BasePredictor\n\n\nclass Predictor(BasePredictor):\n    def predict(self, text: str) -> str:\n        return text\n"
NODE = """
import sys, time
began = time.perf_counter()
from lading.deploy.bundle import materialise, unpack
ready = time.perf_counter()
with open(sys.argv[1], "rb") as archive:
    bundle, root = unpack(archive)
unpacked = time.perf_counter()
materialise(bundle, root)
print(f"{unpacked - ready:.2f} {time.perf_counter() - unpacked:.2f} {time.perf_counter() - began:.2f}")
"""


def size(folder: Path) -> int:
    """Bytes of the files below a folder, each counted once however many links it has."""
    return sum({(path.stat().st_dev, path.stat().st_ino): path.stat().st_size for path in folder.rglob("*") if path.is_file()}.values())


def node(archive: Path, home: Path, cache: Path) -> tuple[float, float, float]:
    """Seconds to unpack and to materialise, and of both with the imports, in a process of its own."""
    environ = {**os.environ, "LADING_HOME": str(home), "UV_CACHE_DIR": str(cache)}
    ran = subprocess.run([sys.executable, "-c", NODE, str(archive)], env=environ, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    unpacked, made, total = map(float, ran.stdout.split())
    return unpacked, made, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirements", nargs="*", default=PACKAGES, metavar="REQUIREMENT")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        project = folder / "project"
        project.mkdir()
        (project / "cog.yaml").write_text("build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n")
        (project / "requirements.txt").write_text("\n".join(options.requirements) + "\n")
        (project / "predict.py").write_text(PREDICT)
        given = pipeline.Options(directory=project)
        read = pipeline.read(given)
        began = time.perf_counter()
        locked = pipeline.lock(pipeline.plan(read, given), read, given)
        print(f"locked in {time.perf_counter() - began:.1f} s: {', '.join(options.requirements)}")
        archive = folder / "bundle.tar"
        with archive.open("wb") as target:
            pack(make_bundle(locked, read, given, "bench"), target)
        print(f"bundle: {archive.stat().st_size / 1024:.0f} KiB")
        print(f"{'':42} {'unpack':>8} {'materialise':>12} {'process':>8}")
        cases = (("cold: nothing there", "one"), ("warm cache of downloads, empty store", "two"), ("warm: the environment is there", "two"))
        for words, home in cases:
            unpacked, made, total = node(archive, folder / home, folder / "cache")
            print(f"{words:42} {unpacked:6.2f} s {made:10.2f} s {total:6.2f} s")
        print(f"store: {size(folder / 'two') / (1 << 20):.0f} MiB")


if __name__ == "__main__":
    main()
