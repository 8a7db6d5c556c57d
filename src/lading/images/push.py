"""An image into a registry: what it lacks, several blobs at once, the manifest last."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from lading.environments.threads import threads
from lading.images.manifest import make_index
from lading.images.media import CONFIG, INDEX, MANIFEST, Blobs, Descriptor, Image, digest_of
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
        self._done, self._total, self._lock = 0, 0, threading.Lock()

    def publish(self, images: tuple[Image, ...], reference: str) -> str:
        """See `lading.images.media.Destination`.

        Raises:
            LadingError: if the registry refuses, or cannot be reached.
        """
        target = check_name(reference, Origin("-t"))
        blobs = list(_blobs(images).items())
        self._total = sum(descriptor.size for descriptor, _ in blobs)
        self.reporter(Event(step=STEP, phase=Phase.STARTED, message=str(target)))
        try:
            with Registry(target, insecure=self.insecure) as registry, threads(_AT_ONCE) as pool:
                # One question instead of one for each blob: an image of the same name has most of them, mostly.
                there = registry.held_by(target.tag)
                list(pool.map(lambda one: self._push(registry, target, images, there, *one), blobs))
                digest = self._manifests(registry, images, target)
                self._attach(registry, images)
        except BaseException:
            self.reporter(Event(step=STEP, phase=Phase.FAILED))
            raise
        done = ", ".join(f"{count} {how}" for how, count in self.sent.items() if count)
        refused = f"; its bill of materials is in the image alone: {self.refused}" if self.refused else ""
        self.reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{target}: {len(blobs)} blobs ({done}){refused}"))
        return digest

    def _attach(self, registry: Registry, images: tuple[Image, ...]) -> None:
        """The bills of materials beside the images. A registry that takes none has the images nevertheless."""
        try:
            artifacts = [artifact for artifact in map(sbom_artifact, images) if artifact is not None]
            for artifact in artifacts:
                attach(registry, artifact)
                self.attached = (*self.attached, artifact.digest)
        except LadingError as error:
            self.refused = error.problems[0].what

    def _push(
        self,
        registry: Registry,
        target: Reference,
        images: tuple[Image, ...],
        there: frozenset[str],
        descriptor: Descriptor,
        blobs: Blobs,
    ) -> None:
        known = descriptor.digest in there
        how = "there" if known else registry.push(descriptor, blobs, self._neighbours(target, images, descriptor), self._heard)
        with self._lock:
            self.sent[how] += 1
        self._remember(target, descriptor)

    @staticmethod
    def _manifests(registry: Registry, images: tuple[Image, ...], target: Reference) -> str:
        if len(images) == 1:
            return registry.put_manifest(images[0].manifest, MANIFEST, target.tag)
        for image in images:
            registry.put_manifest(image.manifest, MANIFEST, image.digest)
        return registry.put_manifest(make_index(images), INDEX, target.tag)

    def _heard(self, count: int) -> None:
        with self._lock:
            self._done += count
            self.reporter(Event(step=STEP, phase=Phase.PROGRESS, done=self._done, total=self._total, unit="bytes"))

    def _neighbours(self, target: Reference, images: tuple[Image, ...], descriptor: Descriptor) -> list[str]:
        """Repositories of the same registry that have the blob: where it was pushed before, and where the base came from."""
        known = self.store.note("pushed", _key(target.registry, descriptor.digest)) or []
        bases = [image.base.partition("/")[2] for image in images if image.base and image.base.partition("/")[0] == target.registry]
        return [str(name) for name in dict.fromkeys((*known[-2:], *bases)) if name != target.repository]

    def _remember(self, target: Reference, descriptor: Descriptor) -> None:
        key = _key(target.registry, descriptor.digest)
        known = self.store.note("pushed", key) or []
        if target.repository not in known:
            self.store.keep_note("pushed", key, [*known[-3:], target.repository])


def _key(registry: str, digest: str) -> str:
    return fold_hashes([registry, digest])


def _blobs(images: Iterable[Image]) -> dict[Descriptor, Blobs]:
    """Every blob once; the largest first, so that they do not come last alone."""
    found: dict[str, tuple[Descriptor, Blobs]] = {}
    for image in images:
        config = Descriptor(media_type=CONFIG, digest=digest_of(image.config), size=len(image.config))
        for descriptor in (*(layer.descriptor for layer in image.layers), config):
            found[descriptor.digest] = (descriptor, image.blobs)
    return dict(sorted(found.values(), key=lambda one: -one[0].size))
