"""The servers: what each needs from the package index, how it is started, and how it wants to be asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workloads import NAMES

APPS = Path(__file__).resolve().parent / "apps"
SOURCE = APPS.parent.parent.parent / "src"
_ASGI = ("--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Server:
    """One server. ``command`` may use ``{python}``, ``{bin}``, ``{port}``; it runs in ``folder``, or in a project that ``project`` makes."""

    name: str
    title: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    path: str = "/predict"
    dialect: str = "plain"
    dialects: dict[str, str] = field(default_factory=dict)
    folder: Path = APPS
    environ: dict[str, str] = field(default_factory=dict)
    workloads: tuple[str, ...] = NAMES
    project: Callable[[Path, str], None] | None = None
    ours: bool = False
    peer: bool = True


def cog_project(folder: Path, workload: str) -> None:
    """A project of Cog's for one workload, with the schema that `cog build` would put into the image."""
    _write_project(folder, APPS / "cog" / f"{workload}.py", "")
    told = subprocess.run([*LADING, "schema", str(folder)], capture_output=True, text=True, check=True, env=_environ())
    (folder / ".cog").mkdir(exist_ok=True)
    (folder / ".cog" / "openapi_schema.json").write_text(told.stdout)


def lading_project(requirements: str) -> Callable[[Path, str], None]:
    """Makes the same project, with these requirements, installed. Batching, which Cog does not have, has a predictor of its own."""

    def make(folder: Path, workload: str) -> None:
        own = APPS / "lading" / f"{workload}.py"
        _write_project(folder, own if own.exists() else APPS / "cog" / f"{workload}.py", requirements if workload == "matmul" else "")
        subprocess.run([*LADING, "install", "-q", str(folder)], check=True, env=_environ(), capture_output=True)

    return make


def _write_project(folder: Path, predictor: Path, requirements: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(predictor, folder / "predict.py")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (folder / "requirements.txt").write_text(requirements)
    (folder / "cog.yaml").write_text(
        f'build:\n  python_version: "{version}"\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n'
    )


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": str(SOURCE)}


LADING = (sys.executable, "-m", "lading")
_SERVE = (*LADING, "serve", "-q", "-p", "{port}")

SERVERS = (
    Server("lading", "Lading", (), _SERVE, "/predictions", "cog", project=lading_project("numpy\norjson\n"), ours=True),
    Server(
        "lading-json",
        "Lading, model without orjson",
        (),
        _SERVE,
        "/predictions",
        "cog",
        workloads=("matmul",),
        project=lading_project("numpy\n"),
        ours=True,
        peer=False,
    ),
    Server(
        "lading-threads",
        "Lading, 16 threads",
        (),
        (*_SERVE, "--threads", "16"),
        "/predictions",
        "cog",
        workloads=("sleep",),
        project=lading_project(""),
        ours=True,
        peer=False,
    ),
    Server(
        "cog",
        "Cog 0.23.1",
        ("cog==0.23.1", "coglet==0.23.1", "numpy"),
        ("{python}", "-m", "cog.server.http", "--host", "127.0.0.1"),
        "/predictions",
        "cog",
        environ={"COG_PREDICT_TYPE_STUB": "predict.py:Predictor", "LOG_FORMAT": "console"},
        project=cog_project,
    ),
    Server("litserve", "LitServe", ("litserve", "numpy"), ("{python}", "litserve_app.py", "{port}")),
    Server(
        "bentoml",
        "BentoML",
        ("bentoml", "numpy"),
        ("{bin}/bentoml", "serve", "bento_app:Service", "--host", "127.0.0.1", "--port", "{port}"),
        dialects={"batch": "list"},
        environ={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Server(
        "mlserver",
        "MLServer, one worker",
        ("mlserver", "uvloop<0.22", "numpy"),
        ("{bin}/mlserver", "start", "."),
        "/v2/models/model/infer",
        "v2",
        folder=APPS / "mlserver",
        environ={"MLSERVER_PARALLEL_WORKERS": "1", "MLSERVER_MODEL_MAX_BATCH_SIZE": "{batch}", "MLSERVER_MODEL_MAX_BATCH_TIME": "0.005"},
        workloads=tuple(name for name in NAMES if name != "stream"),
    ),
    Server(
        "mlserver-inside",
        "MLServer, in process",
        ("mlserver", "uvloop<0.22", "numpy"),
        ("{bin}/mlserver", "start", "."),
        "/v2/models/model/infer",
        "v2",
        folder=APPS / "mlserver",
        environ={"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_MODEL_MAX_BATCH_SIZE": "{batch}", "MLSERVER_MODEL_MAX_BATCH_TIME": "0.005"},
        workloads=tuple(name for name in NAMES if name != "stream"),
    ),
    Server(
        "fastapi",
        "FastAPI, in process",
        ("fastapi", "uvicorn[standard]", "numpy"),
        ("{bin}/uvicorn", *_ASGI, "fastapi_app:app"),
    ),
    Server("ray", "Ray Serve", ("ray[serve]", "numpy"), ("{python}", "ray_app.py", "{port}"), environ={"RAY_USAGE_STATS_ENABLED": "0"}),
    Server(
        "bare",
        "bare uvicorn (the ceiling)",
        ("uvicorn[standard]", "msgspec", "numpy"),
        ("{bin}/uvicorn", *_ASGI, "bare:app"),
        workloads=tuple(name for name in NAMES if name != "batch"),
        peer=False,
    ),
)


def install(server: Server, cache: Path) -> Path:
    """The server's own virtual environment, made if it is not there.

    Raises:
        RuntimeError: if it cannot be made; the message says why.
    """
    if not server.packages:
        return Path(sys.prefix)
    place = cache / server.name.partition("-")[0]
    wanted = " ".join(server.packages)
    mark = place / "installed.txt"
    if mark.exists() and mark.read_text() == wanted:
        return place
    from uv import find_uv_bin

    uv = find_uv_bin()
    python = str(place / "bin" / "python")
    steps = (
        [uv, "venv", "-q", "--clear", "--python", sys.executable, str(place)],
        [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, *server.packages],
    )
    for step in steps:
        ended = subprocess.run(step, capture_output=True, text=True, timeout=900, check=False)
        if ended.returncode:
            raise RuntimeError(" ".join(ended.stderr.split())[-300:] or f"uv ended with {ended.returncode}")
    mark.write_text(wanted)
    return place
