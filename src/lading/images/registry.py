"""A registry's API (OCI distribution specification 1.1): pull, and push of only what is missing."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Iterable
from typing import BinaryIO, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from lading.environments.home import home, unusable
from lading.images.credentials import Login, find_login
from lading.images.media import INDEXES, MANIFEST, MANIFESTS, Blobs, Descriptor, digest_of
from lading.images.reference import Reference
from lading.images.wire import BUSY, TRANSIENT, TRIES, Answer, Wire, pause, same_server
from lading.model.digests import is_sha256
from lading.model.problems import ExitCode, LadingError, Problem

_ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
CHUNK = 32 << 20
"""How much of a large blob goes in one request (bytes): what has arrived is not sent again when a connection breaks."""
_PIECE = 1 << 20

Heard = Callable[[int], None]


def _nobody(_count: int) -> None:
    """Nobody listens to the progress."""


class Registry:
    """One repository of a registry. Its methods may be called from several threads.

    ``insecure``: plain HTTP, which is the default for registries on this machine alone.
    """

    def __init__(self, reference: Reference, login: Login | None = None, *, insecure: bool | None = None) -> None:
        self.reference = reference
        plain = reference.local if insecure is None else insecure
        self._root = f"{'http' if plain else 'https'}://{reference.host}"
        self._wire = Wire(self._root, login or find_login(reference))
        self._takes_pieces, self._least = True, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._wire.close()

    def break_off(self) -> None:
        """End what other threads do here, at once: their calls raise ``CancelledError``."""
        self._wire.cut()

    def manifest(self, target: str) -> tuple[bytes, str]:
        """A manifest or index by tag or digest: its bytes and its media type.

        Raises:
            LadingError: if it is not there, or not to be had.
        """
        answer = self._ask("GET", f"manifests/{target}", {"Accept": _ACCEPT})
        if answer.status != 200:
            raise LadingError(self._problem(answer, "pull"))
        if is_sha256(target) and digest_of(answer.body) != target:
            raise LadingError(self._corrupt(target))
        return answer.body, answer.header("content-type").partition(";")[0] or str(json.loads(answer.body).get("mediaType", ""))

    def held_by(self, target: str) -> frozenset[str]:
        """The digests of the blobs that the image of a tag is made of: a registry keeps them as long as it keeps the image.

        Empty where there is none.

        Raises:
            LadingError: if the registry cannot be reached.
        """
        inside, own = self._digests_in(target)
        return own.union(*(self._digests_in(digest)[1] for digest in inside))  # an index of an index is none that we make

    def _digests_in(self, target: str) -> tuple[frozenset[str], frozenset[str]]:
        """The digests of the manifests, and of the blobs, that a manifest or index names; none of what has another digest than was asked for."""
        answer = self._ask("GET", f"manifests/{target}", {"Accept": _ACCEPT})
        nothing: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()
        if answer.status != 200 or (is_sha256(target) and digest_of(answer.body) != target):
            return nothing
        try:
            record = json.loads(answer.body)
            named = [[entry["digest"] for entry in record.get(kind, ())] for kind in ("manifests", "layers")]
            named[1] += [record["config"]["digest"]] if "config" in record else []
            inside, own = (frozenset(filter(is_sha256, digests)) for digests in named)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return nothing
        return inside, own

    def digest_of(self, target: str) -> str | None:
        """The digest that the registry has for a tag; None where it has nothing. Not every registry tells it, or by SHA-256, with its answer."""
        answer = self._ask("HEAD", f"manifests/{target}", {"Accept": _ACCEPT})
        if answer.status == 200 and not is_sha256(answer.header("docker-content-digest")):
            return digest_of(self.manifest(target)[0])
        return answer.header("docker-content-digest") if answer.status == 200 else None

    def fetch(self, descriptor: Descriptor, stream: BinaryIO, heard: Heard = _nobody) -> None:
        """A blob into a file, checked; where the connection broke, it goes on from there.

        Raises:
            LadingError: if it is not to be had, or is not what its digest says.
        """
        download = _Download(stream, heard)
        for attempt in range(TRIES):
            headers = {"Range": f"bytes={download.done}-"} if download.done else {}
            try:
                answer = self._wire.request("GET", self._url(f"blobs/{descriptor.digest}"), headers, sink=download.receive, tries=1)
                if answer.status not in (200, 206) and (answer.status not in BUSY or attempt == TRIES - 1):
                    raise LadingError(self._problem(answer, "pull"))
                if download.done >= descriptor.size:
                    break
            except TRANSIENT as error:
                if attempt == TRIES - 1:
                    raise LadingError(self._unreachable(error)) from error
            time.sleep(pause(attempt))
        if download.digest() != descriptor.digest:
            raise LadingError(self._corrupt(descriptor.digest))

    def has(self, digest: str) -> bool:
        """Whether the repository has a blob."""
        answer = self._ask("HEAD", f"blobs/{digest}")
        if answer.status in (401, 403):
            raise LadingError(self._problem(answer, "push"))
        return answer.status == 200

    def push(self, descriptor: Descriptor, blobs: Blobs, mount_from: Iterable[str] = (), heard: Heard = _nobody) -> str:
        """Make sure that the repository has a blob; returns how: ``there``, ``mounted`` or ``sent``.

        ``mount_from`` are repositories of the same registry that may have it.

        Raises:
            LadingError: if the registry refuses, or cannot be reached any more.
        """
        if self.has(descriptor.digest):
            return "there"
        upload: str | None = None
        for repository in mount_from:
            if repository == self.reference.repository:
                continue
            query = urlencode({"mount": descriptor.digest, "from": repository})
            answer = self._ask("POST", f"blobs/uploads/?{query}")
            if answer.status == 201:
                return "mounted"
            upload = self._opened(answer) if answer.status == 202 else upload
        upload = upload or self._begin()
        if self._takes_pieces and descriptor.size > max(CHUNK, self._least):
            if self._send_pieces(descriptor, blobs, upload, heard):
                return "sent"
            self._takes_pieces = False
            upload = self._begin()
        self._send_whole(descriptor, blobs, upload, heard)
        return "sent"

    def put_manifest(self, content: bytes, media_type: str, target: str) -> str:
        """Put a manifest or index under a tag or digest, and check that the registry has it; returns its digest.

        Raises:
            LadingError: if the registry refuses, or holds something else afterwards.
        """
        answer = self._ask("PUT", f"manifests/{target}", {"Content-Type": media_type}, content)
        if answer.status not in (200, 201, 202):
            raise LadingError(self._problem(answer, "push"))
        digest = digest_of(content)
        if self.digest_of(target) != digest:
            raise LadingError(self._corrupt(digest))
        return digest

    def find_manifest(self, target: str) -> bytes | None:
        """A manifest or index by tag or digest; None where there is none.

        Raises:
            LadingError: if it is not to be had.
        """
        answer = self._ask("GET", f"manifests/{target}", {"Accept": _ACCEPT})
        if answer.status not in (200, 404):
            raise LadingError(self._problem(answer, "pull"))
        return answer.body if answer.status == 200 else None

    def put_referrer(self, content: bytes) -> bool:
        """Put a manifest that has a subject under its digest. Whether the registry lists it among those that refer to it (``OCI-Subject``).

        Raises:
            LadingError: if the registry refuses it.
        """
        answer = self._ask("PUT", f"manifests/{digest_of(content)}", {"Content-Type": MANIFEST}, content)
        if answer.status not in (200, 201, 202):
            raise LadingError(self._problem(answer, "push"))
        return bool(answer.header("oci-subject"))

    def lists_referrers(self, digest: str) -> bool:
        """Whether the registry knows which manifests refer to one.

        Raises:
            LadingError: if it cannot be reached.
        """
        return self._ask("GET", f"referrers/{digest}").status == 200

    def _begin(self) -> str:
        answer = self._ask("POST", "blobs/uploads/")
        if answer.status != 202:
            raise LadingError(self._problem(answer, "push"))
        return self._opened(answer)

    def _opened(self, answer: Answer) -> str:
        """The address of an upload that has begun; its answer may say how large pieces are at least."""
        least = answer.header("oci-chunk-min-length")
        self._least = int(least) if least.isdecimal() else self._least
        return self._location(answer)

    def _location(self, answer: Answer) -> str:
        """Where an upload goes on. A registry behind a proxy that decrypts may name itself without encryption: it is asked as before."""
        try:
            url = urljoin(f"{self._root}/", answer.header("location"))
            parts = urlsplit(url)
        except ValueError as error:
            reason = http.client.InvalidURL(f"it sends uploads to {answer.header('location')!r}, which is no address")
            raise LadingError(self._unreachable(reason)) from error
        if parts.scheme == "http" and same_server(self._root, url):
            return self._root + url[len(f"http://{parts.netloc}") :]
        return url

    def _send_whole(self, descriptor: Descriptor, blobs: Blobs, upload: str, heard: Heard) -> None:
        """In one request; a broken one begins anew: nothing large is lost, or the registry takes no pieces."""
        for attempt in range(TRIES):
            url = _with_digest(upload, descriptor.digest)
            headers = {"Content-Type": "application/octet-stream"}
            try:
                body = lambda: _pieces(blobs, descriptor.digest, 0, descriptor.size, heard)  # noqa: E731
                answer = self._wire.request("PUT", url, headers, body, length=descriptor.size, tries=1)
            except TRANSIENT as error:
                if attempt == TRIES - 1:
                    raise LadingError(self._unreachable(error)) from error
            else:
                if answer.status == 201:
                    return
                if not _may_pass(answer):
                    raise LadingError(self._problem(answer, "push"))
            time.sleep(pause(attempt))
            upload = self._begin()
        raise LadingError(self._problem(answer, "push"))

    def _send_pieces(self, descriptor: Descriptor, blobs: Blobs, upload: str, heard: Heard) -> bool:
        """In pieces; after a broken one the registry is asked how much it has, and the rest is sent.

        False where the registry takes no pieces, as Google's Artifact Registry.
        """
        done, furthest, failures = 0, 0, 0
        while done < descriptor.size:
            length = min(max(CHUNK, self._least), descriptor.size - done)
            answer, broken = self._send_piece(descriptor, blobs, upload, (done, length), heard)
            if answer is not None and answer.status in (202, 204):
                upload, done = self._location(answer), done + length
                if done > furthest:  # one that forgets each upload takes its first piece for ever
                    furthest, failures = done, 0
                continue
            failures += 1
            if answer is not None and (_wants_it_whole(answer) or (failures == TRIES and answer.status in (404, 416))):
                return False
            if failures == TRIES or (answer is not None and not _may_pass(answer)):
                raise LadingError(self._problem(answer, "push") if answer else self._unreachable(broken)) from broken
            time.sleep(pause(failures))
            upload, done = self._resume(upload)
        return self._finish(descriptor, upload)

    def _finish(self, descriptor: Descriptor, upload: str) -> bool:
        """The end of an upload in pieces; where the answer was lost, the registry is asked whether it has the blob."""
        try:
            answer = self._wire.request("PUT", _with_digest(upload, descriptor.digest), body=b"")
        except TRANSIENT as error:
            if self.has(descriptor.digest):
                return True
            raise LadingError(self._unreachable(error)) from error
        if answer.status == 201 or self.has(descriptor.digest):
            return True
        if _wants_it_whole(answer) or answer.status in (404, 416):
            return False
        raise LadingError(self._problem(answer, "push"))

    def _send_piece(
        self, descriptor: Descriptor, blobs: Blobs, upload: str, stretch: tuple[int, int], heard: Heard
    ) -> tuple[Answer | None, BaseException | None]:
        start, length = stretch
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{start}-{start + length - 1}"}
        try:
            body = lambda: _pieces(blobs, descriptor.digest, start, length, heard)  # noqa: E731
            return self._wire.request("PATCH", upload, headers, body, length=length, tries=1), None
        except TRANSIENT as error:
            self._wire.drop()
            return None, error

    def _resume(self, upload: str) -> tuple[str, int]:
        """Where an upload stands: ``Range: 0-N`` of its status; a new one if the registry has forgotten it."""
        try:
            answer = self._wire.request("GET", upload)
        except TRANSIENT as error:
            raise LadingError(self._unreachable(error)) from error
        if answer.status not in (204, 202, 200):
            return self._begin(), 0
        end = answer.header("range").rpartition("-")[2]
        location = self._location(answer) if answer.header("location") else upload
        # An empty upload answers 0-0, as one of a single byte does: from the start costs nothing then.
        return location, int(end) + 1 if end.isdigit() and int(end) > 0 else 0

    def _ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        try:
            return self._wire.request(method, self._url(path), headers, body, length=len(body or b""))
        except TRANSIENT as error:
            raise LadingError(self._unreachable(error)) from error

    def _url(self, path: str) -> str:
        return f"{self._root}/v2/{quote(self.reference.repository)}/{path}"

    def _problem(self, answer: Answer, doing: str) -> Problem:
        if answer.status in (401, 403):
            return Problem(
                rule="registry-refused",
                what=f"{self.reference.registry} does not let you {doing} {self.reference.repository}.",
                why=_reason(answer) or f"It answered {answer.status}.",
                instead=f"Log in with `podman login {self.reference.registry}` or `docker login {self.reference.registry}`.",
                code=ExitCode.NETWORK,
            )
        if answer.status == 404:
            return Problem(
                rule="image-not-found",
                what=f"There is no image {self.reference}.",
                why=_reason(answer) or None,
                instead="Check the name and the tag.",
                code=ExitCode.NETWORK,
            )
        return Problem(
            rule="registry-failed",
            what=f"{self.reference.registry} could not {doing} {self.reference.repository}: it answered {answer.status}.",
            why=_reason(answer) or None,
            instead="Try again; what has arrived already is not sent twice.",
            code=ExitCode.NETWORK,
        )

    def _unreachable(self, error: BaseException | None) -> Problem:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Problem(
            rule="registry-unreachable",
            what=f"{self.reference.registry} cannot be reached: {reason}.",
            instead="Check the network and the name; a base image may also be a folder: --base DIR.",
            code=ExitCode.NETWORK,
        )

    def _corrupt(self, digest: str) -> Problem:
        return Problem(
            rule="registry-corrupt",
            what=f"What {self.reference.registry} has for {digest} is something else.",
            why="The content does not have this digest.",
            instead="Try again; if it stays so, the registry or a proxy before it is broken.",
            code=ExitCode.NETWORK,
        )


class _Download:
    """A blob while it arrives."""

    def __init__(self, stream: BinaryIO, heard: Heard) -> None:
        self.stream, self.heard = stream, heard
        self.sum, self.done = hashlib.sha256(), 0

    def receive(self, response: http.client.HTTPResponse) -> None:
        if response.status == 200 and self.done:  # no ranges here: from the start again
            self.stream.seek(0)
            self.stream.truncate()
            self.sum, self.done = hashlib.sha256(), 0
        while piece := response.read(_PIECE):
            self._write(piece)
            self.sum.update(piece)
            self.done += len(piece)
            self.heard(len(piece))

    def _write(self, piece: bytes) -> None:
        try:
            self.stream.write(piece)
        except OSError as error:  # not the network's, which another try may help
            raise unusable(home(), error) from error

    def digest(self) -> str:
        return f"sha256:{self.sum.hexdigest()}"


def _pieces(blobs: Blobs, digest: str, start: int, size: int, heard: Heard) -> Iterable[bytes]:
    with blobs.open(digest) as stream:
        stream.seek(start)
        left = size
        while left and (piece := stream.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece
            heard(len(piece))


def _with_digest(upload: str, digest: str) -> str:
    return f"{upload}{'&' if '?' in upload else '?'}{urlencode({'digest': digest})}"


def _may_pass(answer: Answer) -> bool:
    """Whether an upload may go on after such an answer: a busy server, or one that has forgotten the upload."""
    return answer.status >= 500 or answer.status in (404, 416, 429)


def _wants_it_whole(answer: Answer) -> bool:
    """Whether a registry that answers so to a piece may take the same blob in one request."""
    return answer.status == 501 or (400 <= answer.status < 500 and answer.status not in (401, 403, 404, 413, 416, 429))


def _reason(answer: Answer) -> str:
    """What the registry says in its JSON of errors."""
    try:
        errors = json.loads(answer.body)["errors"]
        return "; ".join(str(error.get("message") or error.get("code")) for error in errors) + "."
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
