"""A PostgreSQL server of the test's own: started, stopped, killed; each test has a database of its own in it."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg

from tests.support.ports import free_port

_numbers = itertools.count(1)
PASSWORD = "pw-of-the-database"


def programs() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *([Path(found).resolve().parent] if found else [])]
    usable = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return max(usable, key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0, default=None)


def missing() -> str | None:
    """Why no server can be started here; None if one can."""
    if programs() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user nobody"
    return None


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


class Postgres:
    """See the module. A context manager. ``host`` is the address to listen on."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        folder = programs()
        assert folder is not None
        self.programs, self.user = folder, _user()
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()  # still ours while it is stopped

    def __enter__(self) -> Self:
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = ["-D", str(self.data), "-U", "lading", "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run([str(self.programs / "initdb"), *data], check=True, stdout=subprocess.DEVNULL, user=self.user, cwd="/")
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-D", str(self.data), "-p", str(self.port), "-h", self.host, "-k", str(self.folder), "-c", "max_connections=60"]
        command = [str(self.programs / "postgres"), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self.user, cwd="/")
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it, by default at once and cleanly; its clients' connections are cut."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def kill(self) -> None:
        """End it however it can be; what it had committed holds."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGQUIT)

    def url(self, database: str) -> str:
        """libpq's URL of a database."""
        return f"postgresql://lading:{PASSWORD}@{self.host}:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a new database."""
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)
