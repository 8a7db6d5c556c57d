"""Weights in images: layers of their own, at their targets, as their lock says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from lading.images.arrange import LARGE_FILE, MOST_OF_FILES, arrange_files
from lading.images.folders import Found
from lading.images.layout import Layout
from tests.images.support import PROJECT, Command, content_of, manifest_of, write
from tests.weights.hub import Hub
from tests.weights.test_damage import rewrite, stored

WEIGHTS = """\
weights:
  - name: llm
    target: /weights/llm
    source: {uri: "hf://org/model", exclude: ["*.md"]}
  - name: own
    target: /src/own
    source: {uri: own}
"""


def _build(lading: Command, project: Path, base: Path, *words: str | Path, check: bool = True, **variables: Any) -> Any:
    return lading("build", project, "-t", "weighty:v1", "--base", base, "--json", *words, check=check, **variables)


def test_weights_are_layers_of_their_own_and_change_alone(lading: Command, base: Path, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        **PROJECT,
        "requirements.txt": "greeting==1.0\n",
        "cog.yaml": PROJECT["cog.yaml"] + WEIGHTS,
        "own/a.bin": b"a" * 900,
    }
    project = write(tmp_path / "weighty", files)
    with Hub({"org/model": {"main": {"config.json": b"{}", "model.bin": b"m" * 5000, "README.md": b"#"}}}) as hub:
        first = _build(lading, project, base, "-o", f"oci:{tmp_path / 'image'}", HF_ENDPOINT=hub.url)
        assert "imported now" in first.err
        hub.requests.clear()
        assert _build(lading, project, base, "--locked", HF_ENDPOINT=hub.url).data["digest"] == first.data["digest"]
        assert not hub.requests
        rewrite(stored(lading, b"m" * 5000), b"n" * 5000)
        healed = _build(lading, project, base, "--locked", HF_ENDPOINT=hub.url)
        assert "model.bin of llm was changed in the store" in healed.err
        assert (healed.data["digest"], stored(lading, b"m" * 5000).read_bytes()) == (first.data["digest"], b"m" * 5000)
    image = first.data["images"][0]
    layers = [layer for layer in image["layers"] if layer["kind"] == "weights"]
    assert {layer["title"] for layer in layers} == {"llm", "own"}
    found = {layer["title"]: content_of(Layout(tmp_path / "image").read(layer["digest"])) for layer in layers}
    assert found["llm"] == {"weights/llm/config.json": b"{}", "weights/llm/model.bin": b"m" * 5000}
    assert found["own"] == {"src/own/a.bin": b"a" * 900}
    last = content_of(Layout(tmp_path / "image").read(manifest_of(tmp_path / "image")["layers"][-1]["digest"]))
    assert "src/own/a.bin" not in last  # once is enough
    assert "src/weights.lock" in last
    lock = json.loads((project / "weights.lock").read_text())
    assert json.loads(last[".cog/weights.json"]) == {
        "weights": [{"name": one["name"], "target": one["target"], "setDigest": one["setDigest"]} for one in lock["weights"]]
    }
    (project / "own/a.bin").write_bytes(b"b" * 900)
    refused = _build(lading, project, base, check=False)
    assert (refused.code, refused.data["problems"][0]["rule"]) == (4, "weights-changed")
    lading("weights", "import", "own", "-C", project)
    changed = _build(lading, project, base).data["images"][0]
    old = {layer["digest"] for layer in image["layers"]}
    assert [layer["title"] for layer in changed["layers"] if layer["digest"] not in old and layer["kind"] == "weights"] == ["own"]
    (project / "cog.yaml").write_text(str(files["cog.yaml"]).replace("/weights/llm", "/weights/other"))
    stale = _build(lading, project, base, "--locked", check=False)
    assert stale.data["problems"][0]["rule"] == "weights-lock-stale"


@pytest.mark.slow
def test_a_container_finds_its_weights(lading: Command, base: Path, tmp_path: Path, podman_environ: dict[str, str]) -> None:
    predictor = (
        "import json\nfrom pathlib import Path\nfrom cog import BasePredictor\n\n\nclass Predictor(BasePredictor):\n    def setup(self) -> None:\n"
        "        self.seen = [Path(path).read_text() for path in ('/weights/llm/config.json', '/src/own/a.bin', 'own/a.bin')]\n"
        "        self.told = [one['name'] for one in json.loads(Path('/.cog/weights.json').read_text())['weights']]\n\n"
        "    def predict(self) -> str:\n        return ' '.join([*self.seen, *self.told])\n"
    )
    files: dict[str, str | bytes] = {**PROJECT, "requirements.txt": "greeting==1.0\n", "cog.yaml": PROJECT["cog.yaml"] + WEIGHTS}
    project = write(tmp_path / "weighty", {**files, "own/a.bin": "mine", "predict.py": predictor})
    with Hub({"org/model": {"main": {"config.json": b"{}", "model.bin": b"m" * 5000}}}) as hub:
        _build(lading, project, base, HF_ENDPOINT=hub.url)
    assert lading("predict", "weighty:v1", **cast("Any", podman_environ)).out == "{} mine mine llm own\n"


def _large(name: str) -> Found:
    return Found(path=name, source="", size=LARGE_FILE)


def test_a_hundred_large_files_share_few_layers_and_each_is_in_one() -> None:
    shards = [_large(f"src/w/model-{number:03}.safetensors") for number in range(100)]
    small = [Found(path=f"src/w/{name}", source="", size=10) for name in ("b", "a")]
    for count in (3, 100):
        groups = arrange_files([("w", [*small, *shards[:count]])], [_large("src/own.bin")])
        assert len(groups) <= MOST_OF_FILES
        paths = [one.path for _, files in groups for one in files]
        assert sorted(paths) == sorted(one.path for one in (*small, *shards[:count], _large("src/own.bin")))
        assert ("w", ["src/w/a", "src/w/b"]) in [(title, [one.path for one in files]) for title, files in groups]
        assert all(files == sorted(files, key=lambda one: one.path) for _, files in groups)
    many = [(f"set{number}", [Found(path=f"w{number}/a", source="", size=1)]) for number in range(30)]
    assert len(arrange_files(many, [_large("x")])) == 1
    assert [len(arrange_files([("w", small)], shards, most)) for most in (1, 2, 5)] == [1, 2, 5]
