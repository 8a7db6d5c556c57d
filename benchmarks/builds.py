"""Choosing builds with an index as large as PyTorch's: reading its pages, choosing, and finding the nearest set. Prints medians in milliseconds.

    python benchmarks/builds.py [--rounds N]

The pages hold every release of the dated table with its labels and Pythons (3,000 wheels); compared with parsing the same pages with `html.parser` alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.index import LocalIndex  # noqa: E402
from tests.support.plans import declared  # noqa: E402
from tests.support.pytorch import PyTorch  # noqa: E402

from lading.frameworks import Context, Offers, choose_builds  # noqa: E402  (the tests' index is beside)
from lading.frameworks.offers import Page  # noqa: E402
from lading.frameworks.places import base  # noqa: E402
from lading.model.secrets import SecretUrl  # noqa: E402
from lading.model.target import Target  # noqa: E402
from lading.resolvers.listings import Door, fetch, from_copies  # noqa: E402

TARGET = Target(python="3.11.7", platform="x86_64-manylinux_2_36", accelerator="cu132")
PAGES = [Page(base(), name) for name in ("torch", "torchvision", "torchaudio")]


def median(action: Callable[[], object], rounds: int) -> float:
    """The median time of an action, in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with LocalIndex() as index, tempfile.TemporaryDirectory() as cache:
        pytorch = PyTorch(index)
        pytorch.add_table()
        door = Door(address={base(): SecretUrl(pytorch.url)}, root=Path(), cache=Path(cache))
        first = median(lambda: fetch(PAGES, door), 1)
        offers = from_copies(PAGES, door)
        bodies = [path.read_text() for path in Path(cache).iterdir()]
        wheels = sum(len(listing.files) for listing in offers.pages.values())
        print(f"{wheels} wheels on {len(PAGES)} pages")
        floor = median(lambda: [HTMLParser().feed(body) for body in bodies], rounds)
        print(f"html.parser alone            {floor:8.1f} ms")
        print(f"asked over loopback, once    {first:8.1f} ms   {first / floor:5.2f} x")
        read = median(lambda: from_copies(PAGES, door), rounds)
        print(f"read from copies             {read:8.1f} ms   {read / floor:5.2f} x")
        for name, texts in {
            "an exact pin": ["torch==2.4.1"],
            "a range": ["torch>=2"],
            "three of the family": ["torch==2.4.1", "torchvision==0.19.1", "torchaudio==2.4.1"],
            "a contradiction": ["torch==2.12.0+cu126", "torchvision==0.16.0"],
        }.items():
            print(f"choosing, {name:18} {median(lambda texts=texts: choose(texts, offers), rounds):8.1f} ms")


def choose(texts: list[str], offers: Offers) -> object:
    """Choose builds, from scratch."""
    return choose_builds(tuple(declared(text) for text in texts), Context(target=TARGET, offers=offers))


if __name__ == "__main__":
    main()
