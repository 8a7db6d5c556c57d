"""Files that a lock names, fetched into the store and checked by their hashes."""

from __future__ import annotations

import base64
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lading.environments.threads import threads
from lading.images.packages import Package
from lading.images.store import Store, touch
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.problems import ExitCode, LadingError, Problem, ProblemCollector
from lading.model.secrets import SecretUrl, redact_urls
from lading.resolvers.netrcs import from_netrc

if TYPE_CHECKING:
    import urllib.request
    from urllib.response import addinfourl

STEP = "Downloading"
_PIECE = 1 << 20
_TRIES = 4
_SECONDS = 60


class Downloader:
    """Fetches the files of one lock; credentials are the plan's, by server, and those of a netrc file."""

    def __init__(self, store: Store, root: Path, plan: Plan, reporter: Reporter = silent, *, offline: bool = False) -> None:
        self.store, self.root, self.plan, self.reporter, self.offline = store, root, plan, reporter, offline
        self._logins = dict(_logins(plan))
        self._done, self._total, self._lock = 0, 0, threading.Lock()

    def fetch_all(self, packages: Sequence[Package]) -> dict[str, Path]:
        """Each package's file by the package's name; what the store has is not fetched again.

        Raises:
            LadingError: with every file that cannot be had.
        """
        missing = [package for package in packages if self._kept(package) is None]
        self._total = sum(int(package.file.get("size") or 0) for package in missing)
        count = "1 file" if len(missing) == 1 else f"{len(missing)} files"
        if missing:
            self.reporter(Event(step=STEP, phase=Phase.STARTED, message=count))
        problems = ProblemCollector()
        with threads(4) as pool:
            tasks = [(package, pool.submit(self.fetch, package)) for package in packages]
            found = {}
            for package, task in tasks:
                with problems.catching():
                    found[package.name] = task.result()
        if missing:
            phase = Phase.FAILED if problems.problems else Phase.FINISHED
            self.reporter(Event(step=STEP, phase=phase, message=count, done=self._done, total=self._total, unit="bytes"))
        problems.raise_if_any()
        return found

    def fetch(self, package: Package) -> Path:
        """One file's path in the store.

        Raises:
            LadingError: if it cannot be had, or has another hash.
        """
        kept = self._kept(package)
        if kept is not None:
            return kept
        place = self._place(package)
        with self.store.aside() as (aside, stream):
            digest = hashlib.sha256()

            def take(piece: bytes) -> None:
                stream.write(piece)
                digest.update(piece)
                self._heard(len(piece))

            def again() -> None:
                nonlocal digest
                stream.seek(0)
                stream.truncate()
                digest = hashlib.sha256()

            self._read(package, take, again)
            stream.flush()
            if package.sha256 and digest.hexdigest() != package.sha256:
                raise LadingError(_other_hash(package, digest.hexdigest(), self.plan))
            place.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(place)
        return place

    def _kept(self, package: Package) -> Path | None:
        place = self._place(package)
        if not place.is_file():
            return None
        touch(place)
        return place

    def _place(self, package: Package) -> Path:
        # A file of the project may change: it is known by its state as well.
        local = "" if "url" in package.file else _state(self.root / package.place)
        key = package.sha256 or fold_hashes([package.place, local])
        return self.store.root / "wheels" / key / package.filename

    def _read(self, package: Package, take: Callable[[bytes], None], again: Callable[[], None]) -> None:
        if "url" not in package.file:
            self._read_file(package, self.root / package.place, take)
            return
        url = str(package.file["url"])
        if url.lower().startswith("file:"):
            self._read_file(package, Path(unquote(urlsplit(url).path)), take)
            return
        if self.offline:
            raise LadingError(_offline(package))
        for attempt in range(_TRIES):
            if self._arrived(package, url, take, last=attempt == _TRIES - 1):
                return
            again()
            time.sleep(0.3 * 2**attempt)

    def _arrived(self, package: Package, url: str, take: Callable[[bytes], None], *, last: bool) -> bool:
        """Whether the file came; where another try may help, that it did not."""
        import ssl  # noqa: PLC0415 -- takes long to load, and most files are in the store
        import urllib.error  # noqa: PLC0415

        try:
            with self._open(url) as answer:
                shutil.copyfileobj(answer, _Taker(take), _PIECE)
        except urllib.error.HTTPError as error:
            if error.code < 500 or last:
                raise LadingError(_refused(package, error.code, self.plan)) from error
            return False
        except (OSError, ValueError) as error:
            if last or isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise LadingError(_unreachable(package, error)) from error
            return False
        return True

    def _read_file(self, package: Package, path: Path, take: Callable[[bytes], None]) -> None:
        try:
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, _Taker(take), _PIECE)
        except OSError as error:
            raise LadingError(_missing(package, error)) from error

    def _open(self, url: str) -> addinfourl:
        import ssl  # noqa: PLC0415 -- as above
        import urllib.request  # noqa: PLC0415

        from lading.resolvers.asking import opener  # noqa: PLC0415

        request = urllib.request.Request(url, headers={"User-Agent": "lading", "Accept-Encoding": "identity"})  # noqa: S310 -- an index's own URL
        login = self._login(url)
        if login:
            # Not among the headers that follow every redirect.
            request.add_unredirected_header("Authorization", login)
        host = urlsplit(url).netloc
        handlers: list[urllib.request.BaseHandler] = []
        if host in self.plan.options.trusted_hosts or host.partition(":")[0] in self.plan.options.trusted_hosts:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            handlers.append(urllib.request.HTTPSHandler(context=context))
        answer: addinfourl = opener(*handlers).open(request, timeout=_SECONDS)
        return answer

    def _login(self, url: str) -> str | None:
        host = urlsplit(url).netloc
        pair = self._logins.get(host)
        if pair is None and (found := from_netrc(host.partition(":")[0])):
            pair = found[0], found[2] or ""
        return "Basic " + base64.b64encode(f"{pair[0]}:{pair[1]}".encode()).decode() if pair else None

    def _heard(self, count: int) -> None:
        with self._lock:
            self._done += count
            self.reporter(
                Event(step=STEP, phase=Phase.PROGRESS, done=self._done, total=max(self._total, self._done), unit="bytes"),
            )


class _Taker:
    """A writable end for `shutil.copyfileobj`."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.write = take


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _logins(plan: Plan) -> Mapping[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for secret in plan.secrets():
        if isinstance(secret, SecretUrl):
            parts = urlsplit(secret.reveal())
            if parts.username is not None:
                found[parts.netloc.rpartition("@")[2]] = (unquote(parts.username), unquote(parts.password or ""))
    return found


def _shown(package: Package) -> str:
    return redact_urls(package.place)


def _offline(package: Package) -> Problem:
    return Problem(
        rule="offline-not-cached",
        what=f"{package.filename} was not downloaded before, and --offline forbids to do it now.",
        instead="Run once without --offline.",
        code=ExitCode.NETWORK,
    )


def _refused(package: Package, status: int, plan: Plan) -> Problem:
    login = (
        "Give the index's password, for example with --secret id=netrc,src=FILE."
        if status in (401, 403)
        else "Run `lading lock --upgrade`."
    )
    return Problem(
        rule="file-not-served",
        what=f"The index does not give out {package.filename}: it answered {status}.",
        origin=Origin(plan.lock_path),
        why=f"The lock names {_shown(package)}.",
        instead=login,
        code=ExitCode.NETWORK,
    )


def _unreachable(package: Package, error: Exception) -> Problem:
    reason = getattr(error, "reason", None) or error
    return Problem(
        rule="index-unreachable",
        what=f"{package.filename} cannot be downloaded: {redact_urls(str(reason))}.",
        why=f"The lock names {_shown(package)}.",
        instead="Check the network, and try again.",
        code=ExitCode.NETWORK,
    )


def _missing(package: Package, error: OSError) -> Problem:
    return Problem(
        rule="path-not-found",
        what=f"{_shown(package)} cannot be read: {error.strerror}.",
        why="The lock names this file.",
        instead="Put the file back, or run `lading lock`.",
        code=ExitCode.RESOLUTION,
    )


def _other_hash(package: Package, found: str, plan: Plan) -> Problem:
    return Problem(
        rule="hash-mismatch",
        what=f"{package.filename} is not the file that the lock names.",
        origin=Origin(plan.lock_path),
        why=f"Its SHA-256 is {found}, and the lock has {package.sha256}.",
        instead="Find out who changed it. `lading lock --upgrade-package` takes the new file, if it is right.",
        code=ExitCode.RESOLUTION,
    )
