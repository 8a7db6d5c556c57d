"""A page about an image: a picture of what fills it, what would make it smaller, what changed since the last one, the layers."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from lading.explain.layers import size
from lading.images.contents import Share, by_owner
from lading.images.media import Image, Kind, Layer
from lading.images.treemap import Box, squarify

_WIDTH, _HEIGHT = 1160.0, 620.0
_HEAD = 20.0
_COLOURS = {
    Kind.BASE: "#7d8a97",
    Kind.HIDDEN: "#9aa5ad",
    Kind.INTERPRETER: "#8d6e63",
    Kind.SYSTEM: "#6d9a8a",
    Kind.SCRIPT: "#b08968",
    Kind.FRONT: "#9575cd",
    Kind.PACKAGES: "#4a86c5",
    Kind.BYTECODE: "#86b3dd",
    Kind.ENVIRONMENT: "#aab7c4",
    Kind.STEPS: "#b08968",
    Kind.WEIGHTS: "#d9a441",
    Kind.BILL: "#c3b1c0",
    Kind.PROJECT: "#5aa469",
}
_WORTH = 1_000_000
"""Advice is given about this many bytes or more."""


def render(name: str, image: Image, shares: Sequence[Share], before: tuple[Image, Sequence[Share]] | None) -> str:
    """The page as HTML, in one file."""
    unpacked = sum(share.bytes for share in shares)
    facts = f"{image.platform}, {size(image.size)} in a registry, {size(unpacked)} unpacked, {len(image.layers)} layers"
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f"<p>{html.escape(facts)}. <code>{image.digest}</code></p>",
        _picture(shares),
        _legend(image),
        _advice(advice(image, shares)),
        _changes(image, shares, before),
        _layers(image, before[0] if before else None),
        _packages(shares),
    ]
    return _PAGE.format(title=html.escape(name), body="\n".join(parts))


def advice(image: Image, shares: Sequence[Share]) -> list[tuple[int, str]]:
    """What would make the image smaller: bytes, and what to do; the largest first."""
    found: list[tuple[int, str]] = []
    gpu = "NVIDIA_VISIBLE_DEVICES" in image.config.decode("utf-8", "replace")
    cuda = {share.owner: share.sorts["CUDA"] for share in shares if share.sorts.get("CUDA")}
    in_base = sum(share.sorts.get("CUDA", 0) for share in shares if share.layer.kind is Kind.BASE)
    in_packages = sum(cuda.values()) - in_base
    if cuda and not gpu:
        instead_of = "pin exactly what asks for them, and its build for CPUs is taken (torch==2.7.0 becomes torch==2.7.0+cpu)."
        found.append((sum(cuda.values()), f"CUDA libraries ({_names(cuda)}), though the image is for a CPU: {instead_of}"))
    elif in_base and in_packages:
        found.append((in_base, "the base brings CUDA, and so do the packages: build on a slim Python, --base python:X-slim."))
    for (sort, in_the_base), text in _INSTEAD.items():
        owners: dict[str, int] = defaultdict(int)
        for share in shares:
            if in_the_base is None or (share.layer.kind is Kind.BASE) is in_the_base:
                owners[share.owner] += share.sorts.get(sort, 0)
        if sum(owners.values()) >= _WORTH:
            found.append((sum(owners.values()), f"{text} Most: {_names(owners)}"))
    return sorted(found, reverse=True)


_INSTEAD = {
    ("tests", True): "tests in the base: a slim base has none.",
    ("tests", False): "tests, which no container runs; the packages bring them, and only other versions or builds of those may not.",
    ("caches", True): "caches of package managers in the base: name a base whose makers emptied them.",
    ("caches", False): "caches of package managers: remove them in the command or script that fills them.",
    ("static libraries", None): "static libraries, which only a compiler needs.",
    ("headers", None): "headers, which only a compiler needs: a base for running (-slim, -runtime) has none.",
    ("documentation", None): "documentation: a slim base has none.",
}
"""What to do about a sort of files, in the base (True), above it (False), or wherever (None)."""


def _names(owners: Mapping[str, int]) -> str:
    largest = sorted(owners.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{name} {size(count)}" for name, count in largest if count)


def _picture(shares: Sequence[Share]) -> str:
    """Kinds of layers as areas, and in each its distributions."""
    groups: dict[Kind, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for share in shares:
        groups[share.layer.kind][share.owner] += share.bytes
    totals = sorted(((sum(owners.values()), kind) for kind, owners in groups.items() if sum(owners.values())), reverse=True)
    boxes = squarify([float(total) for total, _ in totals], Box(0, 0, _WIDTH, _HEIGHT))
    drawn = [_group(kind, total, groups[kind], box) for (total, kind), box in zip(totals, boxes, strict=True)]
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="What fills the image">{"".join(drawn)}</svg>'


def _group(kind: Kind, total: int, owners: Mapping[str, int], box: Box) -> str:
    head = _HEAD if box.height > 3 * _HEAD and box.width > 60 else 0.0
    inner = Box(box.x + 1, box.y + head + 1, max(0.0, box.width - 2), max(0.0, box.height - head - 2))
    largest = sorted(((count, name) for name, count in owners.items() if count), reverse=True)
    boxes = squarify([float(count) for count, _ in largest], inner)
    title = (
        f'<text class="group" x="{box.x + 5:.1f}" y="{box.y + 14:.1f}">{_short(f"{kind} {size(total)}", box.width)}</text>' if head else ""
    )
    drawn = "".join(_cell(kind, name, count, cell) for (count, name), cell in zip(largest, boxes, strict=True))
    return f"<g>{title}{drawn}</g>"


def _cell(kind: Kind, name: str, count: int, box: Box) -> str:
    if box.width < 0.5 or box.height < 0.5:
        return ""
    label = ""
    if box.width > 44 and box.height > 16:
        label = f'<text x="{box.x + 4:.1f}" y="{box.y + 13:.1f}">{_short(name, box.width)}</text>'
        if box.height > 30:
            label += f'<text class="small" x="{box.x + 4:.1f}" y="{box.y + 26:.1f}">{size(count)}</text>'
    where = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    return f'<g><title>{html.escape(name)}: {size(count)} ({kind})</title><rect {where} fill="{_COLOURS[kind]}"/>{label}</g>'


def _short(text: str, width: float) -> str:
    most = max(1, int((width - 8) / 6.6))
    return html.escape(text if len(text) <= most else f"{text[: most - 1]}…")


def _legend(image: Image) -> str:
    kinds = dict.fromkeys(layer.kind for layer in image.layers)
    items = (f'<span><i style="background:{_COLOURS[kind]}"></i>{kind}</span>' for kind in Kind if kind in kinds)
    return f'<p class="legend">{"".join(items)}</p>'


def _advice(found: Sequence[tuple[int, str]]) -> str:
    if not found:
        return "<h2>What would make it smaller</h2><p>Nothing that stands out.</p>"
    return "<h2>What would make it smaller</h2>" + _table(("unpacked", "what"), ((size(count), html.escape(text)) for count, text in found))


def _changes(image: Image, shares: Sequence[Share], before: tuple[Image, Sequence[Share]] | None) -> str:
    if before is None:
        return "<h2>What changed</h2><p>This is the first image of this name here.</p>"
    old, old_shares = before
    new = _new(image, old)
    was, now = by_owner(old_shares), by_owner(shares)
    changed = sorted(
        ((now.get(name, 0) - was.get(name, 0), name) for name in {*was, *now} if now.get(name, 0) != was.get(name, 0)),
        key=lambda one: -abs(one[0]),
    )
    rows = ((f"{'+' if difference > 0 else '-'}{size(abs(difference))}", html.escape(name)) for difference, name in changed[:30])
    sent = (
        f"{size(sum(layer.descriptor.size for layer in new))} in {len(new)} of {len(image.layers)} layers are new; they are marked below."
    )
    told = f"<p>{sent if new else 'Every layer is as it was.'}</p>"
    versions = _table(("of", "was", "is"), _versions(old, image))
    return f"<h2>What changed since {old.digest[:19]}</h2>{told}{versions}" + (_table(("unpacked", "of"), rows) if changed else "")


def _new(image: Image, old: Image | None) -> list[Layer]:
    known = {layer.descriptor.digest for layer in (old or image).layers}
    return [layer for layer in image.layers if layer.descriptor.digest not in known]


def _versions(old: Image, image: Image) -> Iterable[tuple[str, str, str]]:
    """Packages of another version, that came or went; and the base, where it is another one."""
    was, now = _frozen(old), _frozen(image)
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield html.escape(name), html.escape(was.get(name, "")), html.escape(now.get(name, ""))


def _frozen(image: Image) -> dict[str, str]:
    lines = image.labels.get("run.cog.pip_freeze", "").splitlines()
    base = image.labels.get("org.opencontainers.image.base.digest", "")
    return {**dict(line.partition("==")[::2] for line in lines), **({"the base": base[:19]} if base else {})}


def _layers(image: Image, old: Image | None) -> str:
    new = _new(image, old)
    base = image.labels.get("org.opencontainers.image.base.name", "")
    rows = (
        (
            str(layer.kind),
            size(layer.descriptor.size),
            html.escape(layer.title or (base if layer.kind is Kind.BASE else "")),
            f"<code>{layer.descriptor.digest[7:19]}</code>",
            "new" if layer in new else "",
        )
        for layer in image.layers
    )
    return "<h2>Layers</h2>" + _table(("layer", "size", "holds", "digest", ""), rows)


def _packages(shares: Sequence[Share]) -> str:
    largest = sorted(by_owner(shares).items(), key=lambda item: -item[1])[:40]
    return "<h2>The largest</h2>" + _table(("unpacked", "of"), ((size(count), html.escape(name)) for name, count in largest))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    written = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    if not written:
        return ""
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{written}</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1160px; margin: 2rem auto; padding: 0 1rem; color: #1d2733; background: #fff; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
svg {{ width: 100%; height: auto; background: #eef1f4; border-radius: 6px; }}
svg rect {{ stroke: #fff; stroke-width: 1; }} svg g:hover > rect {{ filter: brightness(1.12); }}
svg text {{ font: 12px system-ui, sans-serif; fill: #fff; pointer-events: none; }} svg text.group {{ fill: #1d2733; font-weight: 600; }}
svg text.small {{ font-size: 11px; opacity: .85; }}
table {{ border-collapse: collapse; }} table + table {{ margin-top: 1rem; }} td, th {{ text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top; }}
th {{ color: #667; font-weight: 600; }} code {{ font-size: .85em; overflow-wrap: anywhere; }}
.legend span {{ margin-right: 1.1rem; }} .legend i {{ display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px; }}
</style></head><body>
{body}
</body></html>
"""
