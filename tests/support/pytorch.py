"""Package indexes laid out like PyTorch's: a folder per build label, each an index, and one index above them that lists every build."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.version import Version

from lading.frameworks.releases import Release, demand, has_unlabelled_default, is_of_links_era, releases
from tests.support.index import LocalIndex
from tests.support.wheels import Archive, wheel


class PyTorch:
    """PyTorch's indexes under one folder of a `LocalIndex`: ``url`` is what ``https://download.pytorch.org/whl`` is to the world.

    As there, pages are HTML, files have hashes, and from 2.6 on metadata files lie beside them; sizes are told by HEAD alone.
    """

    def __init__(self, index: LocalIndex, base: str = "whl") -> None:
        self.index, self.base = index, base
        self._plain(base)

    @property
    def url(self) -> str:
        """The folder, without a slash at its end."""
        return self.index.url_of(self.base).rstrip("/")

    def add(
        self,
        name: str,
        version: str,
        folder: str = "",
        *,
        pythons: Iterable[str] = ("3.11",),
        platform: str = "manylinux_2_28_x86_64",
        requires: Sequence[str] = (),
        **options: object,
    ) -> list[Archive]:
        """Publish a wheel per CPython into a label's folder (or the one above all); no Pythons: one ``py3`` wheel."""
        place = f"{self.base}/{folder}" if folder else self.base
        self._plain(place)
        if folder and place not in self.index[self.base].parts:
            self.index[self.base].parts.append(place)
        tags = [f"{cpython(minor)}-{platform}" for minor in pythons] or [f"py3-none-{platform}"]
        made = [wheel(name, version, tag=tag, requires=requires, **options) for tag in tags]  # type: ignore[arg-type]  # passed on
        return [self.index.publish(one, to=place) for one in made]

    def build(self, name: str, version: str, label: str, **options: object) -> list[Archive]:
        """Publish a release's build for one label, as PyTorch names it."""
        return self.add(name, f"{version}+{label}", label, **options)  # type: ignore[arg-type]  # passed on

    def _plain(self, place: str) -> None:
        self.index[place].json = False

    def add_table(self, only: Iterable[str] | None = None) -> None:
        """Publish every release of the dated table (or some), with its partners, as PyTorch did in each era."""
        seen: set[tuple[str, str, str]] = set()
        for row in releases():
            if only is None or str(row.version) in only:
                self._add_release(row, seen)

    def _add_release(self, row: Release, seen: set[tuple[str, str, str]]) -> None:
        for name in ("torch", "torchvision", "torchaudio"):
            version = row.partner(name)
            for label in row.labels if version else ():
                folder, local = self._place(row, name, label)
                key = (name, str(version), folder + local)
                if key not in seen:
                    seen.add(key)
                    self.add(
                        name,
                        f"{version}{local}",
                        folder,
                        pythons=row.pythons_of(name, label),
                        platform="linux_x86_64" if row.version < Version("2.7") else "manylinux_2_28_x86_64",
                        requires=_requires(name, str(version), local),
                    )

    @staticmethod
    def _place(row: Release, name: str, label: str) -> tuple[str, str]:
        if name == "torchaudio" and is_of_links_era(row.version):
            return "", ""
        if str(row.version) == "1.8.2":
            return f"lts/1.8/{label}", f"+{label}"
        return label, "" if has_unlabelled_default(row, label) else f"+{label}"


def _requires(name: str, version: str, local: str) -> list[str]:
    asked = demand(name, Version(version)) if name != "torch" else None
    return ["typing-extensions"] if name == "torch" and Version(version) >= Version("2") else [f"torch{asked}"] if asked is not None else []


def cpython(minor: str) -> str:
    """The tags of a CPython minor: ``cp311-cp311``, ``cp36-cp36m``."""
    number = int(minor.split(".")[1])
    return f"cp3{number}-cp3{number}{'m' if number < 8 else ''}"
