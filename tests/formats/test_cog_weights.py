"""``weights`` of cog.yaml: how addresses are made normal, and every mistake with its line."""

from __future__ import annotations

import pytest

from lading.formats import cog_yaml
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.weights import Weight, WeightSource


def read(text: str) -> tuple[Weight, ...]:
    return cog_yaml.parse_config("cog.yaml", MemoryFiles({"cog.yaml": text})).weights


def refusals(text: str) -> list[tuple[str, int | None]]:
    with pytest.raises(LadingError) as caught:
        read(text)
    return [(problem.rule, problem.origin.line if problem.origin else None) for problem in caught.value.problems]


def of(source: str, target: str = "/src/w") -> str:
    return f"weights:\n  - name: w\n    target: {target}\n    source:\n      uri: {source}\n"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("weights", "file://./weights"),
        ("./weights/", "file://./weights"),
        ("file://./a/../weights", "file://./weights"),
        ("/data/w/", "file:///data/w"),
        ("file:///data/w", "file:///data/w"),
        ("hf://org/model", "hf://org/model"),
        ("huggingface://org/model@main", "hf://org/model"),
        ("hf://org/model@v1.0", "hf://org/model@v1.0"),
        ("hf://org/model@refs/pr/3", "hf://org/model@refs/pr/3"),
        ("https://example.org/a/b.onnx", "https://example.org/a/b.onnx"),
        ("HTTPS://example.org/b.onnx?v=2#x", "https://example.org/b.onnx?v=2"),
    ],
)
def test_addresses_are_made_normal_as_cog_does(written: str, normal: str) -> None:
    if written.startswith("HTTPS"):
        written = written.replace("HTTPS", "https")
    (weight,) = read(of(written))
    assert weight.sources == (WeightSource(uri=normal),)


def test_several_sources_patterns_and_targets() -> None:
    text = (
        "weights:\n  - name: base\n    target: /src/weights//base/\n    source:\n      uri: hf://org/model\n      include: ['*.json', ' *.bin ']\n"
        "      exclude: [onnx/]\n  - name: extra.v1\n    target: /weights/extra\n    source:\n      - uri: weights\n      - uri: https://example.org/x.pth\n"
    )
    base, extra = read(text)
    assert base == Weight(
        name="base",
        target="/src/weights/base",
        sources=(WeightSource(uri="hf://org/model", include=("*.bin", "*.json"), exclude=("onnx/",)),),
        origin=Origin("cog.yaml", 2),
    )
    assert [source.uri for source in extra.sources] == ["file://./weights", "https://example.org/x.pth"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weights: x\n", [("wrong-type", 1)]),
        ("weights: [x]\n", [("wrong-type", 1)]),
        (of("s3://bucket/x"), [("weights-source-unknown", 5)]),
        (of("."), [("weights-source-invalid", 5)]),
        (of("../w"), [("file-outside-project", 5)]),
        (of("hf://model"), [("weights-source-invalid", 5)]),
        (of("hf://org/model@"), [("weights-source-invalid", 5)]),
        (of("hf://org/model@../../x"), [("weights-source-invalid", 5)]),
        (of("https://example.org/"), [("weights-source-invalid", 5)]),
        (of("https:///x"), [("weights-source-invalid", 5)]),
        (of("https://me:secret-word@example.org/x.bin"), [("weights-source-secret", 5)]),
        (of("https://example.org/x.bin?X-Amz-Signature=secret-word"), [("weights-source-secret", 5)]),
        (of("w", "weights"), [("weights-target-invalid", 3)]),
        (of("w", "/"), [("weights-target-invalid", 3)]),
        (of("w", "/src/../etc"), [("weights-target-invalid", 3)]),
        (of("w").replace("name: w", "name: Big_"), [("weights-name-invalid", 2)]),
        (of("w").replace("uri: w", "url: w"), [("weights-incomplete", 5), ("unknown-key", 5)]),
        ("weights:\n  - name: w\n    target: /w\n    source: weights\n", [("wrong-type", 4)]),
        ("weights:\n  - name: w\n    target: /w\n    source: []\n", [("weights-incomplete", 4)]),
        (
            "weights:\n  - name: w\n    target: /w\n    source:\n      uri: w\n      include: ['!x', 'a\\b']\n",
            [("weights-pattern-invalid", 6)] * 2,
        ),
        (of("w") + "  - {name: w, target: /src/v, source: {uri: v}}\n", [("weights-twice", 6)]),
        (of("w") + "  - {name: v, target: /src/w/v, source: {uri: v}}\n", [("weights-targets-overlap", 6)]),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, expected: list[tuple[str, int]]) -> None:
    assert sorted(refusals(text)) == sorted(expected)


def test_no_secret_of_an_address_is_shown() -> None:
    for written in ("https://me:secret-word@example.org/x.bin", "https://example.org/x.bin?sig=secret-word"):
        with pytest.raises(LadingError) as caught:
            read(of(written))
        assert "secret-word" not in repr(caught.value.problems)
