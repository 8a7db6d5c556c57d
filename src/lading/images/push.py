"""An image into a registry: what it lacks, several blobs at once, the manifest last."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO

from lading.environments.threads import threads
from lading.images.manifest import make_index
from lading.images.media import CONFIG, INDEX, MANIFEST, Blobs, Descriptor, Image, Layer, digest_of
from lading.images.reference import Reference, check_name
from lading.images.referrers import attach, sbom_artifact
from lading.images.registry import Registry
from lading.images.store import Store
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.files import fold_hashes
from lading.model.origin import Origin
from lading.model.problems import LadingError

STEP = "Pushing"
_AT_ONCE = 4


class Pushing:
    """The registry that an image's name names. ``store`` remembers which repositories have a blob, to mount it from there.

    Afterwards ``attached`` are the digests of the bills of materials beside the images, and ``refused`` says why the registry took none.
    """

    def __init__(self, store: Store, reporter: Reporter = silent, *, insecure: bool | None = None) -> None:
        self.store, self.reporter, self.insecure = store, reporter, insecure
        self.sent: dict[str, int] = {"there": 0, "mounted": 0, "sent": 0}
        self.attached: tuple[str, ...] = ()
        self.refused = ""
        self._session: _Session | None = None
        self._done, self._total, self._lock = 0, 0, threading.Lock()

    @contextmanager
    def ahead(self, reference: str) -> Iterator[None]:
        """While this lasts `offer` sends layers of images that are not finished, and `publish` sends what is left of them.

        If it ends by an exception, the registry keeps some blobs of no image, as after a push that breaks off.

        Raises:
            LadingError: if the name is none.
        """
        with self._opened(check_name(reference, Origin("-t"))) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    def offer(self, layer: Layer, base: str | None = None) -> None:
        """Begin to send a layer that is in the store; `publish` sends what did not arrive. ``base`` is as that of an image."""
        if self._session is not None and self._session.error is None:
            self._send(self._session, layer.descriptor, self.store, [base])

    def publish(self, images: tuple[Image, ...], reference: str) -> str:
        """See `lading.images.media.Destination`.

        Raises:
            LadingError: if the registry refuses, or cannot be reached.
        """
        target = check_name(reference, Origin("-t"))
        blobs, bases = _blobs(images), [image.base for image in images]
        self._total = sum(descriptor.size for descriptor in blobs)
        self.reporter(Event(step=STEP, phase=Phase.STARTED, message=str(target)))
        try:
            with self._ahead_or_anew(target, blobs, bases) as session:
                self._require_all(session, blobs, bases)
                digest = self._manifests(session.registry, images, target)
                self._attach(session.registry, images)
        except BaseException:
            self.reporter(Event(step=STEP, phase=Phase.FAILED))
            raise
        done = ", ".join(f"{count} {how}" for how, count in self.sent.items() if count)
        refused = f"; its bill of materials is in the image alone: {self.refused}" if self.refused else ""
        self.reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{target}: {len(blobs)} blobs ({done}){refused}"))
        return digest

    def _ahead_or_anew(
        self, target: Reference, blobs: Mapping[Descriptor, Blobs], bases: Sequence[str | None]
    ) -> AbstractContextManager[_Session]:
        """What is sending already, if all of it arrives; else a registry that failed once is asked again: it may be back."""
        session = self._session
        if session is not None and session.target == target:
            self._send_all(session, blobs, bases)
            if session.error is None:
                return nullcontext(session)
        self.sent, self._done = dict.fromkeys(self.sent, 0), 0
        return self._opened(target)

    @contextmanager
    def _opened(self, target: Reference) -> Iterator[_Session]:
        with Registry(target, insecure=self.insecure) as registry, threads(_AT_ONCE) as pool:
            try:
                yield _Session(target, registry, pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                registry.break_off()
                raise

    def _send_all(self, session: _Session, blobs: Mapping[Descriptor, Blobs], bases: Sequence[str | None]) -> None:
        """Send blobs, and wait until they are there, or one ends with an error."""
        wait([self._send(session, descriptor, held, bases) for descriptor, held in blobs.items()], return_when=FIRST_EXCEPTION)

    def _require_all(self, session: _Session, blobs: Mapping[Descriptor, Blobs], bases: Sequence[str | None]) -> None:
        self._send_all(session, blobs, bases)
        if session.error is not None:
            raise session.error

    def _send(self, session: _Session, descriptor: Descriptor, blobs: Blobs, bases: Sequence[str | None]) -> Future[None]:
        """A blob, unless it is on its way already."""
        with self._lock:
            if descriptor.digest not in session.tasks:
                session.tasks[descriptor.digest] = session.pool.submit(self._push, session, descriptor, blobs, bases)
            return session.tasks[descriptor.digest]

    def _attach(self, registry: Registry, images: tuple[Image, ...]) -> None:
        """The bills of materials beside the images. A registry that takes none has the images nevertheless."""
        try:
            artifacts = [artifact for artifact in map(sbom_artifact, images) if artifact is not None]
            for artifact in artifacts:
                attach(registry, artifact)
                self.attached = (*self.attached, artifact.digest)
        except LadingError as error:
            self.refused = error.problems[0].what

    def _push(self, session: _Session, descriptor: Descriptor, blobs: Blobs, bases: Sequence[str | None]) -> None:
        if session.error is not None:  # a password that is wrong, say, need not be tried once for each layer
            raise CancelledError
        try:
            known = descriptor.digest in session.there.result()
            neighbours = self._neighbours(session.target, bases, descriptor)
            how = "there" if known else session.registry.push(descriptor, blobs, neighbours, self._heard)
        except BaseException as error:
            session.error = session.error or error
            raise
        with self._lock:
            self.sent[how] += 1
        self._remember(session.target, descriptor)

    @staticmethod
    def _manifests(registry: Registry, images: tuple[Image, ...], target: Reference) -> str:
        if len(images) == 1:
            return registry.put_manifest(images[0].manifest, MANIFEST, target.tag)
        for image in images:
            registry.put_manifest(image.manifest, MANIFEST, image.digest)
        return registry.put_manifest(make_index(images), INDEX, target.tag)

    def _heard(self, count: int) -> None:
        """How much was sent is shown from `publish` on: until then the build tells how far it is."""
        with self._lock:
            self._done += count
            if self._total:
                self.reporter(Event(step=STEP, phase=Phase.PROGRESS, done=self._done, total=self._total, unit="bytes"))

    def _neighbours(self, target: Reference, bases: Sequence[str | None], descriptor: Descriptor) -> list[str]:
        """Repositories of the same registry that have the blob: where it was pushed before, and where the base came from."""
        known = self.store.note("pushed", _key(target.registry, descriptor.digest)) or []
        below = [base.partition("/")[2] for base in bases if base and base.partition("/")[0] == target.registry]
        return [str(name) for name in dict.fromkeys((*known[-2:], *below)) if name != target.repository]

    def _remember(self, target: Reference, descriptor: Descriptor) -> None:
        key = _key(target.registry, descriptor.digest)
        known = self.store.note("pushed", key) or []
        if target.repository not in known:
            self.store.keep_note("pushed", key, [*known[-3:], target.repository])


class _Session:
    """One registry while blobs go to it, each by one task, until one ends with an ``error``.

    ``there`` are those that it has in the image of the same name.
    """

    def __init__(self, target: Reference, registry: Registry, pool: ThreadPoolExecutor) -> None:
        self.target, self.registry, self.pool = target, registry, pool
        self.tasks: dict[str, Future[None]] = {}
        self.error: BaseException | None = None
        # One question instead of one for each blob: an image of the same name has most of them, mostly.
        self.there = pool.submit(registry.held_by, target.tag)


class _Content:
    """One blob that is in memory: an image's configuration, which the store has only when the image has a name there."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def open(self, _digest: str) -> BinaryIO:
        """See `lading.images.media.Blobs`."""
        return io.BytesIO(self.content)


def _key(registry: str, digest: str) -> str:
    return fold_hashes([registry, digest])


def _blobs(images: Iterable[Image]) -> dict[Descriptor, Blobs]:
    """Every blob once; the largest first, so that they do not come last alone."""
    found: dict[str, tuple[Descriptor, Blobs]] = {}
    for image in images:
        found |= {layer.descriptor.digest: (layer.descriptor, image.blobs) for layer in image.layers}
        config = Descriptor(media_type=CONFIG, digest=digest_of(image.config), size=len(image.config))
        found[config.digest] = (config, _Content(image.config))
    return dict(sorted(found.values(), key=lambda one: -one[0].size))
