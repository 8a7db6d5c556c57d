"""Bring the dated tables under src/lading/frameworks/data up to what the live indexes list.

    python scripts/refresh_tables.py            # rewrite the tables
    python scripts/refresh_tables.py --check    # say what would change; exit status 1 if something would

PyTorch's index tells labels, Pythons and partners of torch's releases; the default registry tells releases, Pythons and the CUDA libraries of
tensorflow's. What stands in a table is kept: rows and labels are added, none is removed, as indexes forget and tables must not. What an index
cannot tell (drivers, compute capabilities, disputes) stays a matter of reading; see the sources named in each table.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from lading.frameworks.files import pythons
from lading.frameworks.labels import CPU, cuda_first
from lading.frameworks.offers import File, Listing, Page, Status
from lading.frameworks.places import base
from lading.frameworks.tags import fits_platform, in_order
from lading.model.secrets import SecretUrl
from lading.resolvers.listings import Door, fetch
from lading.resolvers.pages import DEFAULT_INDEX

DATA = Path(__file__).parents[1] / "src" / "lading" / "frameworks" / "data"
PLATFORM = "x86_64-manylinux_2_40"
PARTNERS = ("torchvision", "torchaudio")
_CUDA = re.compile(r"nvidia-(?P<what>cuda-runtime|cudnn)(?:-cu\d+)?")


@dataclass
class Indexes:
    """The live indexes: PyTorch's folder and the registry."""

    pytorch: str
    registry: str
    cache: Path

    def wheels(self, index: str, package: str) -> tuple[File, ...]:
        """The final releases' wheels of a package for Linux on x86_64.

        Raises:
            SystemExit: if the page cannot be read; a table is not to be made from half of the facts.
        """
        page = Page(index.rstrip("/"), package)
        listing = self._read(page)
        if listing.status is not Status.READ:
            raise SystemExit(f"{index} has not told of {package}: {listing.why or listing.status}")
        final = (one for one in listing.files if not one.version.is_prerelease and not one.yanked)
        return tuple(one for one in final if fits_platform(one.tags, PLATFORM))

    def requires(self, index: str, file: File) -> tuple[Requirement, ...]:
        """What a wheel requires; nothing where the index has no metadata file."""
        listing = self._read(Page(index.rstrip("/"), file.url, "metadata")) if file.has_metadata else None
        found = []
        for text in listing.requires if listing else ():
            try:
                found.append(Requirement(text))
            except InvalidRequirement:
                continue
        return tuple(found)

    def _read(self, page: Page) -> Listing:
        address = {base(): SecretUrl(self.pytorch)}
        return fetch([page], Door(address=address, root=Path(), cache=self.cache, timeout=30.0)).pages[page]


@dataclass
class Table:
    """One table's text, with what was added to it."""

    path: Path
    text: str = ""
    news: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.text = self.path.read_text("utf-8")

    def block(self, key: str, version: str) -> re.Match[str] | None:
        """The ``[[release]]`` of a version."""
        return re.search(rf'\[\[release\]\]\n{key} = "{re.escape(version)}"\n(?:.+\n)*', self.text)

    def set_line(self, block: re.Match[str], line: str, value: str, news: str) -> None:
        """Replace one line of a block."""
        before = block[0]
        after = re.sub(rf"^{line} = .*$", lambda _: f"{line} = {value}", before, count=1, flags=re.MULTILINE)
        if after != before:
            self.text = self.text.replace(before, after, 1)
            self.news.append(news)

    def add(self, block: str, news: str) -> None:
        """Put a new release after the last one."""
        last = list(re.finditer(r"\[\[release\]\]\n(?:.+\n)*", self.text))[-1]
        self.text = f"{self.text[: last.end()]}\n{block}{self.text[last.end() :]}"
        self.news.append(news)

    def dated(self, day: str) -> str:
        """The text as of a day."""
        return re.sub(r'^as_of = ".*"$', f'as_of = "{day}"', self.text, count=1, flags=re.MULTILINE)


def refresh_torch(indexes: Indexes, table: Table) -> None:
    """Labels, Pythons and partners of torch's releases."""
    files = indexes.wheels(base(), "torch")
    partners = {name: indexes.wheels(base(), name) for name in PARTNERS}
    for release in sorted({one.release for one in files}):
        own = [one for one in files if one.release == release]
        labels = {one.label for one in own if one.label and re.fullmatch(r"cpu|cu\d+|rocm[\d.]+|xpu", one.label)}
        block = table.block("torch", str(release))
        if block is not None:
            _add_labels(table, block, str(release), labels)
        elif labels and release > _newest(table, "torch"):
            table.add(_torch_block(indexes, release, own, labels, partners), f"torch {release}: new, {', '.join(cuda_first(labels))}")


def _newest(table: Table, key: str) -> Version:
    return max(Version(text) for text in re.findall(rf'^\[\[release\]\]\n{key} = "(.+)"$', table.text, re.MULTILINE))


def _add_labels(table: Table, block: re.Match[str], release: str, labels: set[str]) -> None:
    line = re.search(r"^labels = \{ (.*) \}$", block[0], re.MULTILINE)
    known = dict(re.findall(r'"?([\w.]+)"? = "([^"]*)"', line[1])) if line else {}
    doubtful = re.search(r"^doubtful = .*$", block[0], re.MULTILINE)
    new = {one for one in labels - known.keys() if not (doubtful and f"{one} =" in doubtful[0])}
    if new:
        merged = {**known, **dict.fromkeys(sorted(new), "live")}
        table.set_line(block, "labels", _inline(merged), f"torch {release}: also {', '.join(sorted(new))}")


def _inline(values: dict[str, str]) -> str:
    names = {name: name if re.fullmatch(r"[\w-]+", name) else f'"{name}"' for name in values}
    return "{ " + ", ".join(f'{names[name]} = "{text}"' for name, text in values.items()) + " }"


def _torch_block(indexes: Indexes, release: Version, own: list[File], labels: set[str], partners: dict[str, tuple[File, ...]]) -> str:
    lines = ["[[release]]", f'torch = "{release}"', f"labels = {_inline(dict.fromkeys(cuda_first(labels), 'live'))}"]
    registry = _registry_label(indexes, release)
    lines += [f'registry = "{registry}"'] if registry else []
    lines.append(f"pythons = {_list(in_order(pythons(one for one in own if one.label == CPU) or pythons(own)))}")
    for name, files in partners.items():
        partner = _partner(indexes, release, files)
        lines += [f'{name} = "{partner}"'] if partner else []
    return "\n".join(lines) + "\n"


def _registry_label(indexes: Indexes, release: Version) -> str | None:
    """The build that the registry serves: the CUDA that its wheel's requirements are pinned to."""
    files = [one for one in indexes.wheels(indexes.registry, "torch") if one.version == release]
    for requirement in indexes.requires(indexes.registry, files[0]) if files else ():
        found = re.fullmatch(r"(?:nvidia-cuda-runtime(?:-cu\d+)?|cuda-toolkit)", requirement.name)
        version = re.search(r"==(\d+)\.(\d+)", str(requirement.specifier))
        if found and version:
            return f"cu{version[1]}{version[2]}"
    return None


def _partner(indexes: Indexes, release: Version, files: Iterable[File]) -> Version | None:
    """The newest release of a partner whose metadata asks for this torch, or for none in particular."""
    for version in sorted({one.release for one in files}, reverse=True)[:12]:
        file = next(one for one in files if one.release == version)
        asked = [one for one in indexes.requires(base(), file) if one.name == "torch"]
        if file.has_metadata and (not asked or asked[0].specifier.contains(release.public)):
            return version
    return None


def refresh_tensorflow(indexes: Indexes, table: Table) -> None:
    """Releases, Pythons and CUDA libraries of tensorflow; one row for each minor release, with its patch releases."""
    files = indexes.wheels(indexes.registry, "tensorflow")
    for release in sorted({one.release for one in files}):
        minors = in_order(pythons(one for one in files if one.release == release))
        known = re.search(rf'"{re.escape(str(release))}" = \[', table.text)
        first = next((text for text in _minors_of(table, release)), None)
        if known or not minors:
            continue
        if first is not None and (block := table.block("tensorflow", first)):
            line = re.search(r"^patches = \{ (.*) \}$", block[0], re.MULTILINE)
            value = f'{{ {line[1] if line else ""}, "{release}" = {_list(minors)} }}'
            table.set_line(block, "patches", value, f"tensorflow {release}: new patch release")
        elif release > _newest(table, "tensorflow"):
            table.add(_tensorflow_block(indexes, release, files, minors), f"tensorflow {release}: new")


def _minors_of(table: Table, release: Version) -> list[str]:
    rows = re.findall(r'^\[\[release\]\]\ntensorflow = "(.+)"$', table.text, re.MULTILINE)
    return [text for text in rows if Version(text).release[:2] == release.release[:2]]


def _tensorflow_block(indexes: Indexes, release: Version, files: Iterable[File], minors: list[str]) -> str:
    file = next(one for one in files if one.release == release)
    libraries = {}
    for requirement in indexes.requires(indexes.registry, file):
        found = _CUDA.fullmatch(requirement.name)
        if found and requirement.marker and "and-cuda" in str(requirement.marker):
            libraries["runtime" if found["what"] == "cuda-runtime" else "cudnn"] = f"{requirement.name}{requirement.specifier}"
    lines = ["[[release]]", f'tensorflow = "{release}"']
    lines += [f'{key} = "{_two(libraries.get(name, ""))}"' for key, name in (("cuda", "runtime"), ("cudnn", "cudnn"))]
    lines += [f"pythons = {_list(minors)}", f'patches = {{ "{release}" = {_list(minors)} }}']
    lines += [f"and_cuda = {_inline(libraries)}"] if libraries else []
    return "\n".join([*lines, 'sources = "live"']) + "\n"


def _two(requirement: str) -> str:
    """The lowest version that a requirement names, to two places."""
    found = re.search(r"(?:==|>=)(\d+\.\d+)", requirement)
    return found[1] if found else ""


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


REFRESHERS: dict[str, Callable[[Indexes, Table], None]] = {"torch": refresh_torch, "tensorflow": refresh_tensorflow}


def main(words: list[str] | None = None) -> int:
    """Refresh the tables; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if something is new")
    parser.add_argument("--torch-index", default=base(), help="the folder under which each build label is an index")
    parser.add_argument("--index", default=DEFAULT_INDEX, help="the registry")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the tables")
    parser.add_argument("--only", choices=sorted(REFRESHERS), action="append", help="only this table (may be repeated)")
    asked = parser.parse_args(words)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    new = 0
    with tempfile.TemporaryDirectory() as cache:
        indexes = Indexes(asked.torch_index.rstrip("/"), asked.index.rstrip("/"), Path(cache))
        for name in asked.only or sorted(REFRESHERS):
            table = Table(asked.data / f"{name}.toml")
            REFRESHERS[name](indexes, table)
            new += len(table.news)
            sys.stdout.write("".join(f"{line}\n" for line in table.news))
            if not asked.check:
                table.path.write_text(table.dated(day), "utf-8")
    sys.stdout.write(f"{new} new facts as of {day}.\n")
    return int(asked.check and new > 0)


if __name__ == "__main__":
    sys.exit(main())
