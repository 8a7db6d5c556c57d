"""What a report advises, and which parts of an image it tells apart."""

from __future__ import annotations

from typing import Any

import pytest

from lading.images.contents import Share
from lading.images.manifest import Settings, make_config, make_manifest
from lading.images.media import Descriptor, Image, Kind, Layer
from lading.images.report import advice, render
from lading.images.store import Store

_LAYERS = {
    kind: Layer(
        descriptor=Descriptor(media_type="x", digest=f"sha256:{number:064}", size=1), diff_id=f"sha256:{number:064}", kind=kind, title=""
    )
    for number, kind in enumerate((Kind.BASE, Kind.PACKAGES, Kind.STEPS))
}


def _image(env: dict[str, str] | None = None, labels: dict[str, str] | None = None, kinds: tuple[Kind, ...] = tuple(_LAYERS)) -> Image:
    layers = tuple(_LAYERS[kind] for kind in kinds)
    config = make_config({}, layers, Settings(entrypoint=(), env=env or {}), labels or {}, "linux/amd64")
    return Image(manifest=make_manifest(config, layers, {}), config=config, layers=layers, blobs=Store(), platform="linux/amd64")


def _share(kind: Kind, owner: str, **sorts: int) -> Share:
    named = {name.replace("_", " "): count for name, count in sorts.items()}
    return Share(_LAYERS[kind], owner, max([*sorts.values(), 1]), named)


@pytest.mark.parametrize(
    ("env", "shares", "bytes_", "words"),
    [
        ({}, [_share(Kind.PACKAGES, "nvidia-cublas-cu12", CUDA=5 << 20)], 5 << 20, "though the image is for a CPU"),
        (
            {"NVIDIA_VISIBLE_DEVICES": "all"},
            [_share(Kind.PACKAGES, "nvidia-cublas-cu12", CUDA=5 << 20), _share(Kind.BASE, "/usr/local/cuda-12.6", CUDA=7 << 20)],
            7 << 20,
            "--base python:X-slim",
        ),
        ({}, [_share(Kind.BASE, "/var/lib/apt", caches=5 << 20)], 5 << 20, "name a base whose makers emptied them. Most: /var/lib/apt"),
        ({}, [_share(Kind.STEPS, "/root/.cache/pip", caches=5 << 20)], 5 << 20, "remove them in the command or script that fills them"),
        ({}, [_share(Kind.PACKAGES, "scipy", tests=5 << 20)], 5 << 20, "tests, which no container runs"),
        ({}, [_share(Kind.PACKAGES, "torch", static_libraries=5 << 20)], 5 << 20, "which only a compiler needs"),
    ],
)
def test_what_would_make_an_image_smaller(env: dict[str, str], shares: list[Share], bytes_: int, words: str) -> None:
    ((count, text),) = advice(_image(env), shares)
    assert count == bytes_
    assert words in text


def test_cuda_that_a_gpu_image_needs_once_is_no_waste() -> None:
    assert advice(_image({"NVIDIA_VISIBLE_DEVICES": "all"}), [_share(Kind.PACKAGES, "nvidia-cublas-cu12", CUDA=5 << 20)]) == []


def test_a_page_tells_versions_that_changed_and_marks_what_is_sent() -> None:
    def labels(freeze: str, base: str) -> dict[str, str]:
        return {"run.cog.pip_freeze": freeze, "org.opencontainers.image.base.digest": base, "org.opencontainers.image.base.name": "a&b"}

    old: Any = _image(labels=labels("kept==1\nchanged==1.0\ngone==3", "sha256:aaa"), kinds=(Kind.BASE, Kind.PACKAGES))
    new = _image(labels=labels("kept==1\nchanged==1.1\nfresh==2", "sha256:bbb"))
    page = render("x:v1", new, [_share(Kind.PACKAGES, "changed")], (old, [_share(Kind.PACKAGES, "changed")]))
    changes, _, layers = page.partition("What changed since")[2].partition("<h2>Layers</h2>")
    for row in (("changed", "1.0", "1.1"), ("fresh", "", "2"), ("gone", "3", ""), ("the base", "sha256:aaa", "sha256:bbb")):
        assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" in changes
    assert "kept" not in changes
    assert layers.count("<td>new</td>") == 1
    assert "<td>a&amp;b</td>" in layers  # a base has no title of its own
