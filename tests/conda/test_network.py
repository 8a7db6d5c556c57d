"""How channels are reached: proxies and certificates that a .condarc names, and what happens when that fails."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lading.environments.store import list_environments
from lading.model.problems import ExitCode, LadingError
from lading.resolvers.conda_client import unreachable
from tests.conda.conftest import MINOR, Channels, Project, conda_of
from tests.support.conda_channel import Served

ENVIRONMENT = f"dependencies:\n  - python={MINOR}\n  - six\n"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass(frozen=True)
class Certificates:
    """An authority that nobody knows, and a certificate of it for this machine, with its key."""

    authority: Path
    server: tuple[Path, Path]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=nobody -addext basicConstraints=critical,CA:TRUE",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 30 -extfile names",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return Certificates(folder / "ca.pem", (folder / "server.pem", folder / "server.key"))


def test_a_proxy_of_the_condarc_is_used_and_one_of_the_environment_wins(
    project: Project, channels: Channels, monkeypatch: pytest.MonkeyPatch, lading_home: Path
):
    with Served(channels.main.folder) as proxy:
        condarc = f"channels: ['http://channels.invalid']\nproxy_servers: {{http: 'http://me:s3cret@{proxy.host}'}}\n"
        project.write({"environment.yml": ENVIRONMENT, ".condarc": condarc})
        project.install()
        assert {package.name for package in conda_of(project.lock()).packages} == {"python", "six"}
        assert any(path.startswith("http://channels.invalid/") and path.endswith(".bz2") for path in proxy.requests)
        assert "s3cret" not in (project.root / "pylock.lading.toml").read_text() + repr(project.events)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        shutil.rmtree(lading_home / "conda" / "repodata")
        assert project.problem(upgrade=True).rule == "conda-channel-unreachable"


def test_certificates_of_the_condarc_are_trusted(project: Project, channels: Channels, certificates: Certificates, lading_home: Path):
    with Served(channels.main.folder, certificate=certificates.server) as server:
        channel = f"channels: ['https://{server.host}']\n"
        project.write({"environment.yml": ENVIRONMENT, ".condarc": channel})
        problem = project.problem()
        assert (problem.rule, problem.code) == ("conda-certificate-refused", ExitCode.NETWORK)
        assert "ssl_verify" in (problem.instead or "")
        project.write({".condarc": f"{channel}ssl_verify: {certificates.authority}\n"})
        project.install()
        assert any(path.endswith(".conda") for path in server.requests)
        project.write({".condarc": f"{channel}ssl_verify: {certificates.authority}.gone\n"})
        problem = project.problem(upgrade=True)
    assert (problem.rule, problem.code) == ("condarc-certificates-missing", ExitCode.NETWORK)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("invalid peer certificate: UnknownIssuer", "conda-certificate-refused"),
        ("Connection refused (os error 111)", "conda-channel-unreachable"),
        ("HTTP status client error (403 Forbidden) for url (x)", "conda-channel-refused"),
        ("HTTP status client error (404 Not Found) for url (x)", "conda-channel-not-found"),
    ],
)
def test_digits_of_an_address_are_no_status(said: str, rule: str):
    error = Exception(f"error sending request for url (https://127.0.0.1:24031/channel-404/linux-64/repodata.json): {said}")
    assert unreachable("https://127.0.0.1:24031/channel-404", error, None, offline=False).rule == rule


@pytest.mark.parametrize("kind", ["password", "token"])
def test_unchecked_certificates_do_not_cost_the_credentials(
    project: Project, channels: Channels, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.setenv("CHANNEL_SECRET", "tok-5ecret")
    token, password = ("tok-5ecret", None) if kind == "token" else (None, ("me", "tok-5ecret"))
    with Served(channels.main.folder, token=token, password=password, certificate=certificates.server) as server:
        url = f"https://{server.host}/t/${{CHANNEL_SECRET}}" if kind == "token" else f"https://me:${{CHANNEL_SECRET}}@{server.host}"
        project.write({"environment.yml": f"channels: ['{url}', nodefaults]\n{ENVIRONMENT}", ".condarc": "ssl_verify: false\n"})
        project.install()
        lock = project.lock()
    assert "conda-certificates-not-checked" in [decision.rule for decision in project.plan().decisions]
    assert {package.name for package in conda_of(lock).packages} == {"python", "six"}
    assert "tok-5ecret" not in (project.root / "pylock.lading.toml").read_text()


def test_an_answer_that_is_gone_the_next_moment_is_asked_for_again(project: Project, channels: Channels):
    with Served(channels.main.folder, stumbles=1) as server:
        project.write({"environment.yml": ENVIRONMENT, ".condarc": f"channels: ['http://{server.host}']\n"})
        project.install()
        assert {package.name for package in conda_of(project.lock()).packages} == {"python", "six"}


@pytest.mark.parametrize(
    ("mute", "patience", "says"),
    [((".json", ".zst"), 0.3, "it took too long"), ((".conda", ".bz2"), 2, "nothing was received for 2 seconds")],
)
def test_a_channel_that_says_nothing_is_not_waited_for_without_end(
    project: Project, channels: Channels, mute: tuple[str, ...], patience: float, says: str
):
    with Served(channels.main.folder, mute=mute) as server:
        condarc = f"channels: ['http://{server.host}']\nremote_read_timeout_secs: {patience}\n"
        project.write({"environment.yml": ENVIRONMENT, ".condarc": condarc})
        with pytest.raises(LadingError) as caught:
            project.install()
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("conda-channel-unreachable", ExitCode.NETWORK)
    assert says in (problem.why or "")
    assert not list_environments()
