"""Weights from a folder, an address and the hub: locked, compared, fetched once, gone on with where it broke, put where predictors look."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lading.locks.weights import read_lock, write_lock
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.weights import WeightFile, set_digest
from lading.weights.locking import import_weights
from lading.weights.store import Part, WeightStore
from lading.weights.web import Web
from tests.images.support import Command, write
from tests.weights.hub import Hub, commit_of

BIG = hashlib.sha256(b"weights").digest() * 6000
MODEL: dict[str, bytes] = {"config.json": b'{"hidden": 4}', "model.safetensors": BIG, "onnx/model.onnx": BIG[::-1], "README.md": b"# hi\n"}
PREDICT = "predict: predict.py:Predictor\n"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({"org/model": {"main": dict(MODEL), "v1": {"config.json": b"{}", "model.safetensors": BIG[:5000]}}}) as running:
        running.singles = {"upscaler.pth": BIG}
        yield running


@pytest.fixture
def lading(tmp_path: Path, hub: Hub) -> Command:
    return Command(tmp_path / "home", "http://127.0.0.1:1/", tmp_path, {"HF_ENDPOINT": hub.url})


def project(folder: Path, weights: str, **files: str | bytes) -> Path:
    predictor = "from cog import BasePredictor\n\n\nclass Predictor(BasePredictor):\n    def predict(self) -> str:\n        return 'x'\n"
    return write(
        folder,
        {"cog.yaml": f"{PREDICT}weights:\n{weights}", "predict.py": predictor, **{k.replace("__", "/"): v for k, v in files.items()}},
    )


def one(uri: str, target: str = "/src/weights/w", more: str = "") -> str:
    return f"  - name: w\n    target: {target}\n    source:\n      uri: {uri}\n{more}"


def lock_of(folder: Path) -> Any:
    return json.loads((folder / "weights.lock").read_text())


def problem(ran: Any) -> Any:
    return ran.data["problems"][0]


def test_the_lock_is_cogs(lading: Command, tmp_path: Path) -> None:
    """The keys and the set digest are those of Cog's format, version 1; the same content gives the same bytes again."""
    place = project(tmp_path / "p", one("files", more="      exclude: ['*.md']\n"), files__a=b"aa", files__sub__b=b"b", files__x_md=b"")
    (place / "files/x.md").write_text("x")
    lading("weights", "import", "-C", place)
    record = lock_of(place)
    assert record["version"] == 1
    (weight,) = record["weights"]
    assert (weight["name"], weight["target"]) == ("w", "/src/weights/w")
    assert weight["source"]["uri"] == "file://./files"
    assert (weight["source"]["include"], weight["source"]["exclude"]) == ([], ["*.md"])
    lines = [f"{hashlib.sha256(content).hexdigest()}  {path}" for path, content in (("a", b"aa"), ("sub/b", b"b"), ("x_md", b""))]
    expected = f"sha256:{hashlib.sha256(chr(10).join(sorted(lines)).encode()).hexdigest()}"
    assert weight["setDigest"] == weight["source"]["fingerprint"] == expected
    assert [file["path"] for file in weight["files"]] == ["a", "sub/b", "x_md"]
    before = (place / "weights.lock").read_bytes()
    lading("weights", "import", "-C", place)
    assert (place / "weights.lock").read_bytes() == before


def test_the_hub_is_pinned_to_a_commit_and_fetched_once(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model", more="      include: ['*.json', '*.safetensors']\n"))
    hub.page = 2
    ran = lading("weights", "import", "-C", place, "--json")
    (weight,) = ran.data["weights"]
    assert [file["path"] for file in weight["files"]] == ["config.json", "model.safetensors"]
    assert weight["fingerprints"] == [f"commit:{commit_of(hub.repositories['org/model']['main'])}"]
    assert not [path for path, _, _ in hub.requests if "README" in path or "onnx" in path.partition("resolve")[2]]
    hub.repositories["org/model"]["newest"] = hub.repositories["org/model"]["main"]
    hub.repositories["org/model"]["main"] = {"config.json": b"{}"}
    hub.requests.clear()
    lading("weights", "pull", "-C", place)
    assert not hub.requests  # all of it is here
    other = Command(tmp_path / "another-home", "http://127.0.0.1:1/", tmp_path, lading.environ)
    other("weights", "pull", "-C", place)  # of the commit, though the branch is elsewhere by now
    assert json.loads(other("weights", "status", "-C", place, "--json").out)["weights"][0]["state"] == "ready"
    assert {path for path, _, _ in hub.requests if "/resolve/" in path and not path.startswith("/api/")} == {
        f"/org/model/resolve/{weight['fingerprints'][0].removeprefix('commit:')}/{name}" for name in ("config.json", "model.safetensors")
    }


def test_what_is_here_is_found_without_loading_what_fetches(lading: Command, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model"))
    lading("weights", "import", "-C", place)
    script = (
        "import sys; from lading.cli.run import run; code = run(sys.argv[1:])\n"
        "print(code, sorted({'lading.weights.store', 'lading.weights.web', 'urllib.request', 'ssl'} & {*sys.modules}))"
    )
    shown = lading.python("-c", script, "weights", "pull", "-C", str(place))
    assert shown.splitlines()[-1] == "0 ['lading.weights.store']"


def test_a_download_goes_on_where_it_broke(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one(f"{hub.url}/files/upscaler.pth") + one("hf://org/model@v1", "/src/v").replace("name: w", "name: v"))
    hub.cut = 3000
    lading("weights", "import", "-C", place)
    ranges = [(path.rpartition("/")[2], wanted) for path, wanted, _ in hub.requests if wanted]
    assert ("upscaler.pth", "bytes=3000-") in ranges
    assert (hashlib.sha256(BIG[:5000]).hexdigest(), "bytes=3000-") in ranges
    assert [weight["name"] for weight in lock_of(place)["weights"]] == ["w", "v"]


def test_a_full_disk_is_no_server_that_cannot_be_reached(hub: Hub, tmp_path: Path) -> None:
    """A limit of the size of files stands for a disk without space."""
    hub.singles["big.bin"] = b"x" * 500_000
    url = f"{hub.url}/files/big.bin"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "part").open("w+b") as stream:
        part = Part(stream)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            with pytest.raises(LadingError) as caught:
                Web({}, Origin("weights")).download(url, part)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.problems[0].rule == "store-not-writable"


def test_what_a_killed_run_left_is_gone_on_with(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model", more="      include: [model.safetensors]\n"))
    part = lading.home / "weights" / "parts" / hashlib.sha256(BIG).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG[:100_000])
    lading("weights", "import", "-C", place)
    assert [wanted for path, wanted, _ in hub.requests if path.startswith("/cdn/")] == ["bytes=100000-"]
    assert not part.exists()


@pytest.mark.parametrize("source", ["hf://org/model@v1", "{hub}/files/upscaler.pth"])
def test_ctrl_c_ends_a_download_that_nothing_comes_of_and_what_came_is_gone_on_with(
    lading: Command, hub: Hub, tmp_path: Path, source: str
) -> None:
    hub.repositories["org/model"]["v1"] = {"model.safetensors": BIG}  # alone: of a small one beside it something may have come too
    place = project(tmp_path / "p", one(source.format(hub=hub.url)))
    hub.stall = 150_000
    parts = lading.home / "weights" / "parts"
    command = [sys.executable, "-m", "lading", "weights", "import", "-C", str(place)]
    with subprocess.Popen(command, env=lading.variables({}), stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while _largest(parts) < 100_000 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=45)  # the server is waited for a minute
    hub.stall = 0
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    (came,) = [part.stat().st_size for part in parts.iterdir() if part.suffix != ".tag"]
    lading("weights", "import", "-C", place)
    assert {wanted for _, wanted, _ in hub.requests if wanted} == {f"bytes={came}-"}
    assert not list(parts.iterdir())
    assert lading("weights", "status", "-C", place).code == 0


def _largest(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # small ones are there for a moment
        return max((one.stat().st_size for one in folder.iterdir()), default=0)
    return 0


@pytest.mark.parametrize("etags", [True, False])
def test_another_file_at_an_address_is_not_appended_to_what_came_of_the_first(
    lading: Command, hub: Hub, tmp_path: Path, *, etags: bool
) -> None:
    """Its digest is not known, so that nothing but the server's tag could tell; and a server may state none."""
    hub.etags = etags
    address = f"{hub.url}/files/upscaler.pth"
    store = WeightStore(tmp_path / "store")
    with contextlib.suppress(ConnectionError):
        store.discover(address, lambda part: _break_off(part, '"of-another"' if etags else ""))
    assert [path.stat().st_size for path in (tmp_path / "store/parts").iterdir() if path.suffix != ".tag"] == [1000]
    digest, size = store.discover(address, lambda part: Web({}, Origin("weights")).download(address, part))
    assert (digest, size) == (f"sha256:{hashlib.sha256(BIG).hexdigest()}", len(BIG))
    assert [wanted for _, wanted, _ in hub.requests] == (["bytes=1000-"] if etags else [""])


def _break_off(part: Part, tag: str) -> None:
    part.tagged(tag)
    part.add(b"x" * 1000)
    raise ConnectionError("the connection broke")


def test_an_address_without_a_stable_tag_is_known_by_its_digest(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one(f"{hub.url}/files/upscaler.pth"))
    hub.etags = False
    lading("weights", "import", "-C", place)
    assert lock_of(place)["weights"][0]["source"]["fingerprint"] == f"sha256:{hashlib.sha256(BIG).hexdigest()}"
    hub.singles["upscaler.pth"] = b"another"
    other = Command(tmp_path / "another-home", "http://127.0.0.1:1/", tmp_path)
    found = problem(other("weights", "pull", "-C", place, "--json", check=False))
    assert (found["rule"], found["origin"]) == ("weights-changed", "cog.yaml:3")


def test_a_token_goes_to_the_hub_alone_and_is_told_of_when_it_is_missing(lading: Command, hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret_of_the_hub"
    place = project(tmp_path / "p", one("hf://org/model") + one(f"{hub.url}/files/upscaler.pth", "/src/u").replace("name: w", "name: u"))
    refused = problem(lading("weights", "import", "-C", place, "--json", check=False))
    assert refused["rule"] == "weights-refused"
    assert "HF_TOKEN" in refused["instead"]
    assert not (place / "weights.lock").exists()
    ran = lading("weights", "import", "-C", place, "-v", HF_TOKEN=hub.token)
    assert hub.token not in ran.out + ran.err + (place / "weights.lock").read_text()
    assert {token for path, _, token in hub.requests if path.startswith(("/files/", "/cdn/"))} == {None}
    assert [token for path, _, token in hub.requests if path.startswith("/api/resolve-cache/")][-2:] == [hub.token] * 2


def test_the_lock_and_the_configuration_are_compared(lading: Command, hub: Hub, tmp_path: Path) -> None:
    both = one("files") + one("hf://org/model@v1", "/src/v").replace("name: w", "name: v")
    place = project(tmp_path / "p", both, files__a=b"aa")
    pending = lading("weights", "status", "-C", place, check=False)
    assert pending.code != 0
    assert "w  pending" in pending.out
    lading("weights", "import", "w", "-C", place)
    states = {
        one["name"]: one["state"] for one in json.loads(lading("weights", "status", "-C", place, "--json", check=False).out)["weights"]
    }
    assert states == {"w": "ready", "v": "pending"}
    lading("weights", "import", "-C", place)
    assert lading("weights", "status", "-C", place).code == 0
    (place / "cog.yaml").write_text(f"{PREDICT}weights:\n{one('files', '/src/elsewhere')}")
    found = {
        one["name"]: (one["state"], one["detail"])
        for one in lading("weights", "status", "-C", place, "--json", check=False).data["weights"]
    }
    assert found["w"] == ("changed", "target: /src/weights/w -> /src/elsewhere")
    assert found["v"][0] == "orphaned"
    stale = problem(lading("weights", "pull", "-C", place, "--json", check=False))
    assert stale["rule"] == "weights-lock-stale"
    assert "target: /src/weights/w -> /src/elsewhere" in stale["why"]
    assert lading("weights", "import", "nothing", "-C", place, check=False).code == 2


def test_a_file_that_is_not_what_the_lock_says_is_named(lading: Command, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("files"), files__a=b"aa")
    lading("weights", "import", "-C", place)
    (place / "files/a").write_bytes(b"ab")
    stated = lading("weights", "status", "-C", place, check=False)
    assert stated.code == 4
    assert "w  modified" in stated.out
    found = problem(lading("weights", "pull", "-C", place, "--json", check=False))
    assert found["rule"] == "weights-changed"
    assert "lading weights import w" in found["instead"]


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        (one("nowhere"), "weights-not-found"),
        (one("files/a"), "weights-not-found"),
        (one("files", more="      include: ['*.bin']\n"), "weights-empty"),
        (one("hf://org/nothing"), "weights-unreachable"),
        ("  - {name: w, target: /src/w, source: [{uri: files}, {uri: same}]}\n", "weights-file-twice"),
    ],
)
def test_sources_that_give_nothing_or_too_much(lading: Command, tmp_path: Path, weights: str, rule: str) -> None:
    place = project(tmp_path / "p", weights, files__a=b"aa", same__a=b"aa")
    ran = lading("weights", "import", "-C", place, "--json", check=False)
    assert problem(ran)["rule"] == rule
    assert not (place / "weights.lock").exists()


def test_a_source_that_is_away_is_told_of_once(lading: Command, hub: Hub, tmp_path: Path) -> None:
    """However many files a model has; others are fetched nevertheless."""
    hub.repositories["org/shards"] = {"main": {f"{number:02}.bin": BIG[number : number + 2000] for number in range(20)}}
    place = project(tmp_path / "p", one("hf://org/shards") + one("hf://org/model@v1", "/src/v").replace("name: w", "name: v"))
    lading("weights", "import", "-C", place)
    del hub.repositories["org/shards"]
    hub.requests.clear()
    other = Command(tmp_path / "another-home", "http://127.0.0.1:1/", tmp_path, lading.environ)
    ran = other("weights", "pull", "-C", place, "--json", check=False)
    assert [(found["rule"], found["origin"]) for found in ran.data["problems"]] == [("weights-unreachable", "cog.yaml:3")]
    assert sum("/org/shards/" in path for path, _, _ in hub.requests) <= 4  # as many as are fetched at once
    states = {one["name"]: one["state"] for one in other("weights", "status", "-C", place, "--json").data["weights"]}
    assert states == {"w": "incomplete", "v": "ready"}


def test_offline_takes_what_is_here_and_nothing_else(lading: Command, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model@v1"))
    assert problem(lading("weights", "import", "-C", place, "--offline", "--json", check=False))["rule"] == "offline-not-cached"
    lading("weights", "import", "-C", place)
    lading("weights", "pull", "-C", place, "--offline")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "weights": []}', '{"version": 1, "weights": [{"name": "w"}]}'])
def test_a_damaged_lock_is_named(lading: Command, tmp_path: Path, text: str) -> None:
    place = project(tmp_path / "p", one("files"), files__a=b"aa")
    (place / "weights.lock").write_text(text)
    assert problem(lading("weights", "status", "-C", place, "--json", check=False))["rule"] == "weights-lock-unreadable"


def test_a_hub_leads_no_file_out_of_its_folder(lading: Command, hub: Hub, tmp_path: Path) -> None:
    hub.repositories["org/evil"] = {"main": {"config.json": b"{}", "../../evil.bin": b"x" * 2000}}
    place = project(tmp_path / "p", one("hf://org/evil"))
    assert problem(lading("weights", "import", "-C", place, "--json", check=False))["rule"] == "weights-file-outside"


@pytest.mark.parametrize(
    "said",
    [
        {"lfs": {"oid": "../../private", "size": 9000}},
        {"lfs": {"oid": "0" * 63, "size": 9000}},
        {"lfs": {"oid": hashlib.sha256(BIG).hexdigest(), "size": "many"}},
        {"lfs": {"oid": hashlib.sha256(BIG).hexdigest(), "size": -1}},
        {"path": ["a"]},
        {"path": None},
    ],
)
def test_what_a_hub_says_of_a_file_is_checked(lading: Command, hub: Hub, tmp_path: Path, said: dict[str, Any]) -> None:
    """A digest that is none would name, link and remove files of this machine."""
    private = write(tmp_path / "home", {"private": "nobody's business"}) / "private"
    hub.says["model.safetensors"] = said
    place = project(tmp_path / "p", one("hf://org/model"))
    found = problem(lading("weights", "import", "-C", place, "--json", check=False))
    assert found["rule"] == "weights-unreachable"
    assert "hf://org/model" in found["what"] + found["why"]
    assert private.read_text() == "nobody's business"
    assert not (place / "weights.lock").exists()


@pytest.mark.parametrize("digest", ["sha256:../../private", "sha256:" + "A" * 64, "../x", "", "sha256:" + "0" * 64 + "\n"])
def test_the_store_names_files_by_digests_alone(tmp_path: Path, digest: str) -> None:
    store = WeightStore(tmp_path / "weights")
    for ask in (store.path, store.has, store.use, lambda one: store.take(one, lambda part: part.add(b"x"))):
        with pytest.raises(ValueError, match="SHA-256"):
            ask(digest)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("changed", [{"files": [{"path": "a", "size": 1, "digest": "sha256:" + "0" * 64, "source": 5}]}, {"sources": []}])
def test_a_lock_that_names_no_source_of_a_file_is_damaged(changed: dict[str, Any]) -> None:
    record = {"name": "w", "target": "/w", "source": {"uri": "file://./w", "fingerprint": "sha256:0"}, "files": [], **changed}
    with pytest.raises(LadingError) as caught:
        read_lock(json.dumps({"version": 1, "weights": [record]}).encode())
    assert caught.value.problems[0].rule == "weights-lock-unreadable"


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b"])
def test_a_lock_leads_no_file_out_of_its_folder(path: str) -> None:
    file = {"path": path, "size": 1, "digest": "sha256:" + "0" * 64}
    record = {"name": "w", "target": "/w", "source": {"uri": "file://./w", "fingerprint": "sha256:0"}, "files": [file]}
    with pytest.raises(LadingError):
        read_lock(json.dumps({"version": 1, "weights": [record]}).encode())


def test_what_cog_packed_is_kept_as_long_as_it_holds() -> None:
    """A lock as Cog writes it comes back byte for byte; a set that has changed loses the packing, which is Cog's to make."""
    file = {"path": "a", "size": 2, "digest": f"sha256:{hashlib.sha256(b'aa').hexdigest()}", "layer": "sha256:" + "1" * 64}
    layer = {"digest": "sha256:" + "1" * 64, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 9, "sizeUncompressed": 2}
    source = {"uri": "file://./w", "fingerprint": "sha256:0", "include": [], "exclude": [], "importedAt": "2026-04-29T17:23:00.414483Z"}
    record = {"name": "w", "target": "/w", "source": source, "digest": "sha256:2", "setDigest": "sha256:3", "size": 2, "sizeCompressed": 9}
    text = (
        json.dumps({"version": 1, "envelopeFormat": "sha256:4", "weights": [{**record, "files": [file], "layers": [layer]}]}, indent=2)
        + "\n"
    )
    lock = read_lock(text.encode())
    assert write_lock(lock.weights, lock).decode() == text
    assert lock.weights[0].set_digest == set_digest([WeightFile(path="a", size=2, digest=str(file["digest"]))])


def test_a_predictor_finds_its_weights_in_the_projects_folder(lading: Command, hub: Hub, tmp_path: Path) -> None:
    """As after `lading serve`, `predict` and `train`, which call this; another target must be there already."""
    from lading import pipeline
    from lading.cli.output import Output
    from lading.cli.weights import of_project, put_in_place
    from lading.environments.folder import FolderFiles
    from lading.planner.find import find_config

    place = project(tmp_path / "p", one("hf://org/model@v1", "/src/weights/llm"))
    options = pipeline.Options(directory=place, environ={**os.environ, "HF_ENDPOINT": hub.url})
    config = find_config(FolderFiles(place), None, {})
    os.environ["LADING_HOME"], before = str(tmp_path / "home"), os.environ.get("LADING_HOME")
    try:
        put_in_place(options, config, Output(quiet=True))
        assert (place / "weights/llm/model.safetensors").read_bytes() == BIG[:5000]
        assert lock_of(place)["weights"][0]["name"] == "w"
        hub.requests.clear()
        put_in_place(options, config, Output(quiet=True))
        assert not hub.requests
        hub.repositories["org/model"]["v1"]["model.safetensors"] = BIG[-5000:]  # of the same size
        import_weights(of_project(options, config, Output(quiet=True)))
        put_in_place(options, config, Output(quiet=True))
        assert (place / "weights/llm/model.safetensors").read_bytes() == BIG[-5000:]
        (place / "weights/llm/config.json").unlink()
        (place / "weights/llm/config.json").write_bytes(b"[]")
        with pytest.raises(LadingError) as caught:
            put_in_place(options, config, Output(quiet=True))
        assert caught.value.problems[0].rule == "weights-in-the-way"
        outside = project(tmp_path / "q", one("hf://org/model@v1", "/weights-of-a-test/llm"))
        with pytest.raises(LadingError) as caught:
            put_in_place(
                pipeline.Options(directory=outside, environ=options.environ),
                find_config(FolderFiles(outside), None, {}),
                Output(quiet=True),
            )
        assert caught.value.problems[0].rule == "weights-not-in-place"
    finally:
        os.environ.pop("LADING_HOME") if before is None else os.environ.update(LADING_HOME=before)
