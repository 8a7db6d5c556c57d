"""``lading deploy`` and the verbs after it, to a cluster: images, dry runs, files, wrong words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lading.images.media import CONFIG, MANIFEST, Descriptor, Image, canonical, digest_of
from lading.images.store import Store
from lading.service.container import as_json
from tests.deploy.apiserver import ApiServer
from tests.deploy.support import COG, CORTEX, deployment_of
from tests.images.support import RunningRegistry
from tests.support.command import lading, write_files

NAME = "registry.example/me/shop:v1"


def keep_image(
    folder: Path, *, name: str = NAME, user: str = "65532:65532", label: bool = True, files: dict[str, str] | None = None
) -> str:
    """An image of a project in the store, without layers: what a deployment reads is its configuration. Returns its digest."""
    service = as_json(deployment_of(folder, files or COG).service)
    labels = {"run.lading.service": canonical(service).decode()} if label else {}
    config = canonical(
        {"architecture": "amd64", "os": "linux", "config": {"User": user, "Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []}}
    )
    described = Descriptor(media_type=CONFIG, digest=digest_of(config), size=len(config))
    manifest = canonical({"schemaVersion": 2, "mediaType": MANIFEST, "config": described.as_json(), "layers": []})
    store = Store()
    store.prepare()
    image = Image(manifest=manifest, config=config, layers=(), blobs=store, platform="linux/amd64")
    return store.publish((image,), name)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A cluster that KUBECONFIG names."""
    with ApiServer().running() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path / "kubeconfig")))
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_files(tmp_path / "shop", COG)


def test_a_project_goes_to_a_cluster_and_away_again(api: ApiServer, project: Path, tmp_path: Path) -> None:
    digest = keep_image(tmp_path / "built")
    done = lading("deploy", project, "--to", "kubernetes", "test", "--image", NAME, "--secret-env", "TOKEN=hush-hush")
    assert (done.code, "shop on kubernetes test: live" in done.out) == (0, True), done.err
    (deployment,) = api.kind("Deployment").values()
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"registry.example/me/shop@{digest}"
    assert "hush-hush" not in done.out + done.err
    assert lading("status", "-C", project).out.startswith("shop on kubernetes test: live")
    assert lading("scale", "-C", project, "2", "--json").data["apis"][0]["replicas"]["ready"] == 2
    assert lading("rollback", "-C", project, "--json").problem["rule"] == "revision-unknown"
    assert lading("logs", "--name", "shop", "-C", project).code == 0
    assert lading("delete", "--name", "shop", "-C", project).code == 0
    assert api.objects == {}


def test_the_verbs_after_a_deployment_go_to_where_it_is(
    api: ApiServer, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_image(tmp_path / "built")
    monkeypatch.chdir(tmp_path)
    with ApiServer().running() as other:
        config, changed = yaml.safe_load((tmp_path / "kubeconfig").read_text()), tmp_path / "kubeconfig"
        config["clusters"].append({"name": "other", "cluster": {"server": other.address}})
        config["contexts"].append({"name": "other", "context": {"cluster": "other", "user": "ci", "namespace": "models"}})
        changed.write_text(yaml.safe_dump(config))
        assert lading("deploy", project, "--to", "kubernetes", "--kubeconfig", "kubeconfig", "--image", NAME).code == 0
        config["contexts"][0]["context"]["namespace"] = "elsewhere"
        changed.write_text(yaml.safe_dump({**config, "current-context": "other"}))
        monkeypatch.setenv("KUBECONFIG", str(other.kubeconfig(tmp_path / "another")))
        monkeypatch.chdir(project)
        assert lading("status").out.startswith("shop on kubernetes test: live")
        assert lading("scale", "2", "--json").data["apis"][0]["replicas"]["ready"] == 2
        named = ("--to", "kubernetes", "--kubeconfig", "../kubeconfig")
        assert lading("status", *named).out.startswith("shop on kubernetes test: live"), "the same file from another folder"
        assert other.requests == []
        assert lading("status", "--to", "kubernetes", "--json").data["state"] == "absent", (
            "the configuration that is current is another one"
        )
        assert lading("delete", "--name", "shop").code == 0
    assert api.objects == {}


def test_a_dry_run_needs_no_cluster_and_shows_no_secret(project: Path, tmp_path: Path) -> None:
    keep_image(tmp_path / "built")
    words = ("deploy", project, "--to", "kubernetes", "nowhere", "--image", NAME, "--secret-env", "TOKEN=hush-hush", "--dry-run")
    done = lading(*words)
    kinds = [one["kind"] for one in yaml.safe_load_all(done.out)]
    assert kinds == ["Secret", "Service", "Deployment", "PodDisruptionBudget"]
    assert "hush-hush" not in done.out
    assert [one["kind"] for one in lading(*words, "--json").data] == kinds


def test_manifests_are_written_for_git_without_secrets(project: Path, tmp_path: Path) -> None:
    keep_image(tmp_path / "built")
    folder = tmp_path / "manifests"
    words = ("deploy", project, "--to", "kubernetes", "--image", NAME, "--output", folder, "--kustomize")
    done = lading(*words, "--secret-env", "TOKEN=hush-hush", "-e", "MODE=fast", "--namespace", "models")
    assert done.code == 0, done.err
    base = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert sorted(one.name for one in folder.iterdir() if one.name != "kustomization.yaml") == base["resources"]
    assert "hush-hush" not in "".join(one.read_text() for one in folder.iterdir())
    create, label = (line.split() for line in done.err.splitlines() if "kubectl" in line)
    assert create[4].startswith("shop-secret-")
    assert ["-n", "models"] == create[5:7] == label[4:6]
    assert ("--from-env-file=FILE" in create, "TOKEN" in create, "TOKEN=" in done.err) == (True, True, False)
    assert {"lading.run/deployment=shop", "app.kubernetes.io/managed-by=lading"} <= set(label)
    assert lading(*words).code == 0
    assert not list(folder.glob("configmap-*")), "what is not there any more would be applied for ever"


def test_files_that_are_not_of_the_deployment_are_never_touched(project: Path, tmp_path: Path) -> None:
    keep_image(tmp_path / "built")
    folder = write_files(
        tmp_path / "manifests",
        {
            "namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: models}\n",
            "values.yaml": "{{ not yaml: [\n",
            "README.md": "mine\n",
        },
    )
    words = ("deploy", project, "--to", "kubernetes", "--image", NAME, "--output", folder)
    before = {one.name: one.read_text() for one in folder.iterdir()}
    assert lading(*words, "--name", "other").code == 0
    (folder / "service-shop.yaml").write_text("kind: Service\nmetadata: {name: shop}\n")
    refused = lading(*words, "--kustomize", "--json")
    assert (refused.problem["rule"], "service-shop.yaml" in refused.problem["what"]) == ("output-not-empty", True)
    assert not (folder / "deployment-shop.yaml").exists(), "nothing is half written"
    (folder / "service-shop.yaml").unlink()
    assert lading(*words, "--kustomize").code == 0
    assert {name: (folder / name).read_text() for name in before} == before
    assert (folder / "deployment-other.yaml").exists(), "another deployment's"
    base = folder / "kustomization.yaml"
    base.write_text(base.read_text() + "namePrefix: mine-\n")
    assert lading(*words, "--kustomize", "--json").problem["rule"] == "output-not-empty", "edited by hand"


def test_settings_of_the_cluster_come_from_the_project_not_from_the_image(tmp_path: Path) -> None:
    keep_image(tmp_path / "built", files=CORTEX)
    project = write_files(tmp_path / "shop", {**CORTEX, "cortex.yaml": CORTEX["cortex.yaml"].replace("max_replicas: 8", "max_replicas: 5")})
    done = lading("deploy", project, "--to", "kubernetes", "--image", NAME, "--dry-run", "--json")
    (scaler,) = [one for one in done.data if one["kind"] == "HorizontalPodAutoscaler"]
    assert scaler["spec"]["maxReplicas"] == 5


def test_variables_of_a_dotenv_are_secrets(tmp_path: Path) -> None:
    keep_image(tmp_path / "built", files=CORTEX)
    project = write_files(tmp_path / "shop", {**CORTEX, ".env": "TOKEN=hush-hush\n"})
    done = lading("deploy", project, "--to", "kubernetes", "--image", NAME, "--dry-run", "--json")
    (secret,) = [one for one in done.data if one["kind"] == "Secret"]
    assert secret["stringData"] == {"TOKEN": "****"}
    assert "hush-hush" not in done.out


def test_an_image_alone_can_be_deployed(tmp_path: Path) -> None:
    keep_image(tmp_path / "built")
    done = lading("deploy", NAME, "-C", tmp_path, "--to", "kubernetes", "--dry-run", "--json")
    assert [one["metadata"]["name"] for one in done.data if one["kind"] == "Deployment"] == ["shop"]


@pytest.mark.slow
def test_an_image_that_only_its_registry_has(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunningRegistry(tmp_path / "registry") as registry:
        name = f"{registry.host}/me/shop:v1"
        digest = keep_image(tmp_path / "built", name=name)
        assert lading("push", name).code == 0
        monkeypatch.setenv("LADING_HOME", str(tmp_path / "other"))
        done = lading("deploy", project, "--to", "kubernetes", "--image", name, "--dry-run", "--json")
        missing = lading("deploy", project, "--to", "kubernetes", "--image", f"{registry.host}/me/none", "--dry-run", "--json")
    (deployment,) = [one for one in done.data if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"{registry.host}/me/shop@{digest}"
    assert missing.code != 0
    assert not (tmp_path / "other" / "images" / "blobs").exists(), "no layer is fetched"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--to", "nomad"), "engine-unknown"),
        (("--to", "kubernetes", "a", "b"), "usage"),
        (("--to", "kubernetes", "--port", "1"), "usage"),
        (("--to", "local", "--image", NAME), "usage"),
        (("--to", "local", "there"), "usage"),
        (("--to", "kubernetes", "--image", "shop"), "image-without-registry"),
        (("--to", "kubernetes", "--image", NAME, "--name", "Not A Name"), "deployment-name"),
        (("--to", "kubernetes", "--image", NAME, "--namespace", "a/b", "--dry-run"), "usage"),
        ((), "usage"),
    ],
)
def test_wrong_words_are_told(words: tuple[str, ...], rule: str, project: Path, tmp_path: Path) -> None:
    keep_image(tmp_path / "built")
    done = lading("deploy", project, *words, "--json")
    assert done.code != 0
    assert done.data["problems"][0]["rule"] == rule


def test_an_image_that_cannot_be_deployed_is_told(project: Path, tmp_path: Path) -> None:
    def rule() -> str:
        found: str = lading("deploy", project, "--to", "kubernetes", "--image", NAME, "--dry-run", "--json").problem["rule"]
        return found

    keep_image(tmp_path / "built", user="root")
    assert rule() == "image-runs-as-root"
    keep_image(tmp_path / "built", user="alice:users")
    assert rule() == "image-user-unnumbered", "pods of it would never start"
    keep_image(tmp_path / "built", label=False)
    assert rule() == "image-not-lading"
    keep_image(tmp_path / "other", files=CORTEX)
    assert rule() == "image-out-of-date"


def test_a_project_that_is_taken_for_the_place_is_told(project: Path, tmp_path: Path) -> None:
    told = lading("deploy", "--to", "kubernetes", project, "--dry-run", "--json").problem
    assert (told["rule"], told["instead"]) == ("usage", f"Write: lading deploy {project} --to kubernetes")


@pytest.mark.parametrize("verb", ["logs", "delete", "status", "scale", "rollback"])
def test_the_command_line_of_a_deployment_loads_no_engine(verb: str) -> None:
    program = (
        "import argparse, importlib, sys\n"
        f"importlib.import_module('lading.cli.{verb}').add_arguments(argparse.ArgumentParser())\n"
        "print(*(name for name in sys.modules if name.startswith('lading.')))\n"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "lading.deploy.ray_options" in loaded
    assert not {"local", "kubernetes", "ray", "bundle"} & {name.removeprefix("lading.deploy.") for name in loaded}


@pytest.mark.parametrize("name", ["shop:v1", "me/shop:v1"])
def test_a_tag_is_no_registry(name: str, project: Path, tmp_path: Path) -> None:
    keep_image(tmp_path / "built", name=name)
    done = lading("deploy", project, "--to", "kubernetes", "--image", name, "--dry-run", "--json")
    assert done.code != 0
    assert done.problem["rule"] == "image-without-registry"


def test_nodes_that_have_the_image_need_no_registry(project: Path, tmp_path: Path) -> None:
    keep_image(tmp_path / "built", name="shop:v1")
    done = lading("deploy", project, "--to", "kubernetes", "--image", "shop:v1", "--image-pull-policy", "Never", "--dry-run", "--json")
    (deployment,) = [one for one in done.data if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:v1"


def test_verbs_of_running_servers_still_want_an_api() -> None:
    for verb in ("logs", "delete"):
        assert "API" in lading(verb, "--json").problem["what"]
