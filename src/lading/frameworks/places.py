"""Where builds of torch and its companions are: PyTorch's own indexes, one folder per build label, by their canonical addresses.

``…/whl/torch/`` lists every build; ``…/whl/cpu/torch/`` those of one label. The machine's own way of reaching them (a mirror) is applied at the
edge (`as_reached`), so that plans, decisions and fingerprints are the same on every machine.
"""

from __future__ import annotations

from packaging.version import Version

from lading.frameworks.labels import index_label, label_of_url
from lading.frameworks.offers import File, Page
from lading.frameworks.releases import is_of_links_era, release_of
from lading.frameworks.tables import table
from lading.model.plan import BoundIndex
from lading.model.secrets import SecretUrl


def base() -> str:
    """The canonical folder of PyTorch's indexes, without a slash at its end."""
    return str(table("torch")["index"]["base"])


def as_reached(url: str, mirrored: SecretUrl | None) -> SecretUrl:
    """A canonical address as this machine reaches it; every other address as it is."""
    if mirrored is None or not (url == base() or url.startswith(f"{base()}/")):
        return SecretUrl(url)
    return SecretUrl(mirrored.reveal().rstrip("/") + url[len(base()) :], mirrored.variables)


def is_pytorch(url: str, mirrored: SecretUrl | None = None) -> bool:
    """Whether an address (without credentials) is PyTorch's own, or this machine's mirror of it."""
    folders = [base(), *([mirrored.without_credentials()] if mirrored else [])]
    return any(url.rstrip("/") == folder or url.startswith(f"{folder}/") for folder in folders)


def is_choosable(url: str, mirrored: SecretUrl | None = None) -> bool:
    """Whether one of PyTorch's addresses is where builds are chosen from: all of them, or a label's; not nightly builds and their like."""
    if not is_pytorch(url, mirrored):
        return False
    folders = [base(), *([mirrored.without_credentials()] if mirrored else [])]
    rest = next(url.rstrip("/")[len(folder) :] for folder in folders if url.rstrip("/") == folder or url.startswith(f"{folder}/"))
    parts = [part for part in rest.split("/") if part and not part.endswith(".html")]
    return not parts or (
        len(parts) == 1 and label_of_url(url.rstrip("/").removesuffix(f"/{table('torch')['index']['links_page']}")) is not None
    )


def asked_label(url: str) -> str | None:
    """The label that one of PyTorch's addresses asks for (``…/whl/cu113``, ``…/whl/cpu/torch_stable.html``), None for all of them."""
    return label_of_url(url) or label_of_url(url.rstrip("/").rpartition("/")[0])


def every_build(package: str, version: Version | None = None) -> Page:
    """The page that lists a package's builds of every label."""
    return Page(f"{base()}{_line(package, version)}", package)


def one_label(package: str, label: str, version: Version | None = None) -> Page:
    """The page that lists a package's builds of one label."""
    return Page(f"{base()}{_line(package, version)}/{label}", package)


def _line(package: str, version: Version | None) -> str:
    """The folder of a line of releases that is published apart: nightly builds, and long-term support."""
    if version is None:
        return ""
    if version.is_devrelease:
        return "/nightly"
    release = release_of(package, version)
    lts = table("torch")["index"]["lts"].get(str(release.version)) if release else None
    return f"/{lts}" if lts else ""


def place_of(package: str, version: Version | None, label: str, file: File | None = None) -> BoundIndex:
    """The index (or page of links) that a package's build comes from; ``file`` is the wheel, where a listing has shown it."""
    line = _line(package, version)
    folder = index_label(label)
    if file is not None and file.folder:
        folder = file.folder
    elif not line and version is not None and _by_links(package, version):
        return BoundIndex("torch-links", SecretUrl(f"{base()}/{table('torch')['index']['links_page']}"), (package,), "find-links")
    name = "-".join(part for part in ("torch", line.replace("/", "-").strip("-"), folder) if part)
    return BoundIndex(name, SecretUrl(f"{base()}{line}/{folder}"), (package,))


def _by_links(package: str, version: Version) -> bool:
    release = release_of(package, version)
    of_torch = version if package == "torch" else release.version if release else None
    return of_torch is not None and is_of_links_era(of_torch)
