"""The bill of materials beside an image: found from the image in registries that list referrers, and in those that do not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lading.images.layout import Layout
from lading.images.media import digest_of
from lading.images.reference import parse_reference
from lading.images.referrers import Artifact, attach
from lading.images.registry import Registry
from lading.model.problems import LadingError
from tests.images.support import Command, RunningRegistry, manifest_of, serving, which


class _Modern(BaseHTTPRequestHandler):
    """A small registry of one repository that lists referrers, or (``refuses``) takes no artifacts at all."""

    protocol_version = "HTTP/1.1"
    manifests: dict[str, bytes]
    blobs: dict[str, bytes]
    refuses = False

    def _any(self) -> None:
        kind, name = self.path.partition("?")[0].removeprefix("/v2/x/").split("/", 1)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command in ("GET", "HEAD"):
            self._read(kind, name)
        elif kind == "manifests":
            self._put(name, content)
        elif self.command == "POST":
            self._answer(202, Location="/v2/x/blobs/uploads/1")
        else:
            self.blobs[parse_qs(urlsplit(self.path).query)["digest"][0]] = content
            self._answer(201)

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815 -- the base class's names

    def _read(self, kind: str, name: str) -> None:
        if kind == "referrers" and not self.refuses:
            found = [json.loads(one) for one in self.manifests.values()]
            subjects = [one for one in found if one.get("subject", {}).get("digest") == name]
            self._answer(
                200, json.dumps({"schemaVersion": 2, "manifests": [{"artifactType": one["artifactType"]} for one in subjects]}).encode()
            )
            return
        content = (self.manifests if kind == "manifests" else self.blobs).get(name)
        if content is None:
            self._answer(404)
        else:
            self._answer(
                200, content, **{"Docker-Content-Digest": digest_of(content), "Content-Type": "application/vnd.oci.image.manifest.v1+json"}
            )

    def _put(self, name: str, content: bytes) -> None:
        subject = json.loads(content).get("subject")
        if subject and self.refuses:
            self._answer(400, b'{"errors": [{"code": "MANIFEST_INVALID", "message": "no artifacts here"}]}')
            return
        self.manifests |= {name: content, digest_of(content): content}
        self._answer(201, **({"OCI-Subject": subject["digest"]} if subject else {}))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def _holds_the_bill(artifact: dict[str, Any], read: Callable[[str], bytes], built: Any) -> None:
    assert artifact["artifactType"] == "application/vnd.cyclonedx+json"
    assert artifact["subject"]["digest"] == built["digest"]
    (layer,) = artifact["layers"]
    assert json.loads(read(layer["digest"]))["bomFormat"] == "CycloneDX"
    assert read(artifact["config"]["digest"]) == b"{}"


def test_a_registry_that_lists_no_referrers_gets_the_list_under_a_tag(
    lading: Command, build: Callable[..., Any], project: Path, tmp_path: Path
) -> None:
    with RunningRegistry(tmp_path / "listing") as registry:
        name = f"{registry.host}/listed:v1"
        built = build(project, "-t", name)
        (digest,) = lading("push", name, "--json").data["sbom"]
        with Registry(parse_reference(name)) as served:
            index = json.loads(served.manifest(built["digest"].replace(":", "-"))[0])
            assert [(one["digest"], one["artifactType"]) for one in index["manifests"]] == [(digest, "application/vnd.cyclonedx+json")]
            artifact = json.loads(served.manifest(digest)[0])
        reference = f"docker://{registry.host}/listed@{digest}"
        shown = subprocess.run(
            [which("skopeo"), "inspect", "--raw", "--tls-verify=false", reference], capture_output=True, text=True, check=True
        )
        assert json.loads(shown.stdout) == artifact
        assert artifact["subject"]["digest"] == built["digest"]
        assert lading("push", name, "--json").data["sbom"] == [digest]
        elsewhere = Command(tmp_path / "another-home", lading.index, tmp_path)
        fetched = elsewhere("report", name, "--json", "-o", tmp_path / "page.html")
        assert (fetched.data["digest"], fetched.data["bytes"]["large"] > 11_000_000) == (built["digest"], True)
        assert "Fetching the image" in fetched.err
        with Registry(parse_reference(name)) as served:
            assert json.loads(served.manifest(built["digest"].replace(":", "-"))[0]) == index


@pytest.mark.parametrize("refuses", [False, True])
def test_a_registry_that_lists_referrers_needs_no_tag_and_one_that_takes_none_has_the_image(
    lading: Command,
    build: Callable[..., Any],
    project: Path,
    refuses: bool,  # noqa: FBT001 -- a parameter
) -> None:
    manifests: dict[str, bytes] = {}
    blobs: dict[str, bytes] = {}
    handler = type("Modern", (_Modern,), {"manifests": manifests, "blobs": blobs, "refuses": refuses})
    with serving(handler) as host:
        name = f"{host}/x:v1"
        built = build(project, "-t", name)
        first, again = lading("push", name, "--json"), lading("push", name, "--json")
    assert digest_of(manifests["v1"]) == built["digest"] == first.data["digest"]
    assert again.data["sent"] == 0
    artifacts = [json.loads(content) for tag, content in manifests.items() if tag.startswith("sha256:") and b'"subject"' in content]
    assert not [tag for tag in manifests if tag.startswith("sha256-")]
    if refuses:
        assert (first.data["sbom"], artifacts) == ([], [])
        assert "its bill of materials is in the image alone" in first.err
        assert "400" in first.err
    else:
        (artifact,) = artifacts
        _holds_the_bill(artifact, blobs.__getitem__, built)
        assert first.data["sbom"] == again.data["sbom"] == [digest_of(manifests[first.data["sbom"][0]])]


_SUBJECT = "sha256:" + "a" * 64
_TAG = _SUBJECT.replace(":", "-")


class _Older(_Modern):
    """A registry that lists no referrers: the list is under a tag."""

    def _read(self, kind: str, name: str) -> None:
        if kind == "referrers":
            self._answer(404)
        else:
            super()._read(kind, name)

    def _put(self, name: str, content: bytes) -> None:
        self.manifests |= {name: content, digest_of(content): content}
        self._answer(201)


def _attached(manifests: dict[str, bytes]) -> Artifact:
    """An artifact, and a registry with these manifests that gets it."""
    artifact = Artifact(
        subject=_SUBJECT, kind="application/x", manifest=b'{"artifactType": "application/x"}', parts=(("text/plain", b"ours"),)
    )
    handler = type("Older", (_Older,), {"manifests": manifests, "blobs": {}})
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as registry:
        attach(registry, artifact)
    return artifact


@pytest.mark.parametrize(
    "listed", [b"<html>Log in</html>", b"{}", b"[]", b"", b'{"manifests": {}}', b'{"manifests": ["x"]}', b'{"manifests":' * 100_000]
)
def test_what_is_no_list_of_artifacts_is_not_overwritten(listed: bytes) -> None:
    """A portal or a proxy may answer so, while the registry has others' signatures there."""
    manifests = {_TAG: listed}
    with pytest.raises(LadingError) as caught:
        _attached(manifests)
    assert caught.value.problems[0].rule == "referrers-damaged"
    assert manifests[_TAG] == listed


@pytest.mark.parametrize("before", [[], [{"digest": "sha256:" + "b" * 64, "artifactType": "application/signature"}]])
def test_the_artifacts_of_others_stay_in_the_list(before: list[dict[str, str]]) -> None:
    manifests = {_TAG: json.dumps({"manifests": before}).encode()} if before else {}
    ours = _attached(manifests)
    assert json.loads(manifests[_TAG])["manifests"] == [*before, ours.entry]


def test_a_layout_has_the_bill_beside_the_one_image_that_readers_find(layout: Path) -> None:
    """Readers that are given no tag want a layout to have one image."""
    reader = Layout(layout)
    (entry,) = reader.entries()
    artifact = json.loads(reader.read(entry["annotations"]["run.lading.referrers"]))
    _holds_the_bill(artifact, reader.read, entry)
    shown = subprocess.run([which("skopeo"), "inspect", f"oci:{layout}"], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["Digest"] == entry["digest"]
    labels = json.loads(shown.stdout)["Labels"]
    assert labels["run.lading.sbom-digest"] == artifact["layers"][0]["digest"]
    assert manifest_of(layout)["annotations"]["run.lading.sbom-digest"] == artifact["layers"][0]["digest"]
