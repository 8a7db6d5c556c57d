"""What is told of what a build had to decide on its way."""

from __future__ import annotations

from collections.abc import Sequence

from lading.model.decisions import Decision, Kind
from lading.model.secrets import redact_urls


def clash(path: str, names: Sequence[str]) -> Decision:
    """A file that two packages bring."""
    return Decision(
        rule="file-in-two-packages",
        kind=Kind.ADVICE,
        subject=names[0],
        asked=" and ".join(names),
        chose=f"one of them in /{path}",
        because="both packages bring a file of this name with different content, and the later layer hides the other's",
        instead="only one of the packages, if they are two builds of the same one",
    )


def hid(base: str, folders: Sequence[str]) -> Decision:
    """Folders of the base that are not seen in the image."""
    return Decision(
        rule="base-folders-hidden",
        kind=Kind.CHOSEN,
        subject="base",
        asked=base,
        chose=f"without its {', '.join(f'/{path}' for path in folders)}",
        because="the image has folders of these names itself, and files of the base's would be seen among their own",
        instead="a base without them: --base IMAGE",
    )


def ran(rule: str, asked: str, because: str) -> Decision:
    """Commands that ran in a build container."""
    return Decision(
        rule=rule,
        kind=Kind.CHOSEN,
        subject="build steps",
        asked=redact_urls(asked),
        chose="run in a build container, once, with a layer of their own",
        because=because,
        instead="declarations in their place; `lading migrate` writes those that it understands",
    )
