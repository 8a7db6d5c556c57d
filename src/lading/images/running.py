"""A container of an image: by podman or docker, else unpacked and run in namespaces of its own; predictions over its HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lading.images.archive import Archive
from lading.images.engines import Engine, find_engine
from lading.images.layout import Layout
from lading.images.media import Image
from lading.images.store import Store, touch
from lading.images.unpacked import unpack
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field

STEP = "Running the image"
_PORT = 5000
_WAIT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a container is started. ``env`` are its variables; ``gpus`` whether it gets the machine's.

    ``cpus`` (in cores), ``memory`` and ``shared_memory`` (in bytes) are what it may use at most; None leaves the engine's own.
    ``watch`` is told of the process that runs it, and of the command that ends it: what it returns is called when it has ended.
    """

    host: str = "127.0.0.1"
    port: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: bool = False
    cpus: float | None = None
    memory: int | None = None
    shared_memory: int | None = None
    watch: Callable[[int, Sequence[str]], Callable[[], None]] | None = None


def serve_image(image: Image, options: RunOptions, reporter: Reporter = silent) -> int:
    """Run a container in the foreground until it is stopped; returns its exit status.

    Raises:
        LadingError: if it cannot be started.
    """
    with _started(image, options, reporter) as (process, port):
        reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"http://{options.host}:{port}"))
        status = process.wait()
    return 128 - status if status < 0 else status


def predict_with_image(image: Image, path: str, body: bytes, options: RunOptions, reporter: Reporter = silent) -> tuple[int, bytes]:
    """Start a container, wait until it takes predictions, ask for one, stop it. Returns the answer's status and body.

    Raises:
        LadingError: if it cannot be started, or its setup fails.
    """
    with _started(image, options, reporter) as (process, port):
        _wait_ready(process, port)
        reporter(Event(step=STEP, phase=Phase.FINISHED, message="it takes predictions"))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.closing(connection):
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                process.wait()
                raise LadingError(_ended(process.returncode, "it had answered")) from error


@contextmanager
def _started(image: Image, options: RunOptions, reporter: Reporter) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running container that ends with the block; SIGTERM and Ctrl-C are passed on to it."""
    port = options.port or free_port()
    engine = find_engine(("podman", "docker"))
    reporter(Event(step=STEP, phase=Phase.STARTED, message=engine.name if engine else "without an engine, in namespaces of its own"))
    if engine is not None:
        name = f"lading-{os.getpid()}-{port}"
        command = [engine.path, "run", "--rm", "--name", name, *_engine_flags(engine, options, port), load_into(engine, image)]
        environ = dict(os.environ)
    else:
        command, environ = _bare_command(image, options, port)
    process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    forget = options.watch and options.watch(process.pid, (engine.path, "rm", "-f", name) if engine is not None else ())
    before = {
        number: signal.signal(number, lambda received, _frame: process.send_signal(received)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield process, port
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end(process)
        if engine is not None:
            engine.run("rm", "-f", name)
        if forget:
            forget()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _engine_flags(engine: Engine, options: RunOptions, port: int) -> list[str]:
    """Read-only, as the image allows it: what is written goes to /tmp in memory."""
    flags = ["--read-only", "--tmpfs", "/tmp", "-p", f"{options.host}:{port}:{_PORT}", "-e", f"PORT={_PORT}"]  # noqa: S108 -- the container's
    for name, value in options.env.items():
        flags += ["-e", f"{name}={value}"]
    limits = {"--cpus": options.cpus, "--memory": options.memory, "--shm-size": options.shared_memory}
    flags += [word for flag, value in limits.items() if value for word in (flag, f"{value:.10g}")]
    if options.gpus:
        flags += ["--gpus", "all"] if engine.name == "docker" else ["--device", "nvidia.com/gpu=all"]
    return flags


def load_into(engine: Engine, image: Image) -> str:
    """Make sure that an engine has an image; the name that it has there.

    Raises:
        LadingError: if the engine does not take it.
    """
    name = f"localhost/lading-image:{image.digest.removeprefix('sha256:')[:24]}"
    if engine.run("image", "inspect", name).returncode == 0:
        return name
    with tempfile.TemporaryDirectory(prefix="lading-load-") as folder:
        if engine.name == "podman":
            place = Path(folder) / "image"
            Layout(place).publish((image,), "latest")
            # podman makes a name of the path, and not every folder's name can be one: relative, it is "image".
            done = engine.run("pull", "-q", "oci:image:latest", cwd=folder)
            if done.returncode == 0:
                done = engine.run("tag", done.stdout.strip().splitlines()[-1], name)
        else:
            archive = Path(folder) / "image.tar"
            Archive(archive).publish((image,), name)
            done = engine.run("load", "-q", "-i", str(archive))
    if done.returncode:
        raise LadingError(
            Problem(
                rule="engine-failed",
                what=f"{engine.name} did not take the image.",
                instead=f"See whether `{engine.name} info` works.",
                code=ExitCode.BUILD,
                detail=done.stderr.strip() or None,
            )
        )
    return name


def rootfs(image: Image, store: Store) -> Path:
    """The image unpacked in the store, once.

    Raises:
        LadingError: if it cannot be written.
    """
    place = store.root / "rootfs" / image.digest.removeprefix("sha256:")
    if not place.exists():
        store.prepare()
        aside = Path(tempfile.mkdtemp(dir=store.root / "work"))
        try:
            unpack(image.blobs, image.layers, aside)
            for name in ("proc", "dev", "sys", "tmp"):
                (aside / name).mkdir(exist_ok=True)
            aside.chmod(0o755)
            place.parent.mkdir(exist_ok=True)
            aside.rename(place)
        except OSError:
            if not place.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    touch(place)
    return place


# Everything that a program looks for: its processes, devices, a folder to write in; as root in the namespace alone. Then the image's user.
_INSIDE = """
set -e
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp" && chmod 1777 "$1/tmp"
mount --rbind /proc "$1/proc"
root=$1 user=$2; shift 2
if [ "$user" = same ]; then exec chroot "$root" "$@"; fi
exec chroot --userspec="$user" "$root" "$@"
"""


def _bare_command(image: Image, options: RunOptions, port: int) -> tuple[list[str], dict[str, str]]:
    """Without an engine: the unpacked image as the root of a mount namespace; a user namespace where we are not root."""
    if not shutil.which("unshare") or not shutil.which("chroot"):
        raise LadingError(
            Problem(
                rule="engine-missing",
                what="There is no podman or docker on this machine, nor unshare and chroot.",
                instead="Install podman (`apt-get install podman`), or serve the project itself: `lading serve`.",
                code=ExitCode.BUILD,
            )
        )
    config = json.loads(image.config)["config"]
    environ = dict(pair.partition("=")[::2] for pair in config.get("Env", ()))
    environ |= {"PORT": str(port), "LADING_HOST": options.host, **options.env}
    root = str(rootfs(image, Store()))
    as_root = os.geteuid() == 0
    user = str(config.get("User") or "0:0") if as_root else "same"
    inner = [
        "/bin/sh",
        "-c",
        'cd "$1" && shift && exec "$@"',
        "sh",
        config.get("WorkingDir", "/"),
        *config["Entrypoint"],
        *config.get("Cmd", ()),
    ]
    flags = ["--mount"] if as_root else ["--mount", "--map-root-user"]
    return ["unshare", *flags, "/bin/sh", "-c", _INSIDE, "sh", root, user, *inner], environ


def _wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _WAIT
    while time.monotonic() < until:
        if process.poll() is not None:
            raise LadingError(_ended(process.returncode))
        status = _status(port)
        if status in ("READY", "BUSY"):
            return
        if status in ("SETUP_FAILED", "DEFUNCT"):
            raise LadingError(_ended(1))
        time.sleep(0.05)
    raise LadingError(_ended(124))


def _status(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health-check")
            record: Any = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
    return str(record.get("status"))


def _ended(status: int, before: str = "it took predictions") -> Problem:
    return Problem(
        rule="container-failed",
        what=f"The container ended, or its setup failed, before {before}.",
        why=f"Its exit status is {status}; what it said is above.",
        instead="Correct the predictor's setup; `lading serve` in the project's folder shows the same.",
        code=ExitCode.MODEL,
    )


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
