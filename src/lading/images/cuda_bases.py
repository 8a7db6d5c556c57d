"""Which of NVIDIA's images has the libraries of a CUDA version, where no wheel brings them; the tags are in `cuda_bases.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lading.frameworks.labels import cuda_version

_TABLE = Path(__file__).with_name("cuda_bases.toml")


def cuda_base(label: str) -> str:
    """The runtime image for a build label such as ``cu121``; where there is none, the nearest of its major version, newer ones first.

    Libraries of one major version serve what was built for an older minor one, so a newer image is the safer neighbour.
    """
    tags = {_version(text): tag for text, tag in tomllib.loads(_TABLE.read_text(encoding="utf-8"))["runtime"].items()}
    wanted = cuda_version(label) or max(tags)
    newer = [version for version in tags if version[0] == wanted[0] and version >= wanted]
    older = [version for version in tags if version[0] == wanted[0] and version < wanted]
    chosen = min(newer) if newer else max(older or tags)
    return f"nvidia/cuda:{tags[chosen]}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
