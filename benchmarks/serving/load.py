"""Load on one address of this machine, bounded in time: wrk where it is installed, else a driver of our own.

Every answer is looked at: it counts when its status is 200 and it contains what only a right one does.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from workloads import Request

_LUA = """
local function read(name) local file = io.open(os.getenv(name), "rb"); local text = file:read("*a"); file:close(); return text end
local expected = os.getenv("BENCH_EXPECTED")
local threads = {}
wrk.method = "POST"
wrk.body = read("BENCH_BODY")
for line in os.getenv("BENCH_HEADERS"):gmatch("[^\\n]+") do
  local name, value = line:match("^(.-): (.*)$")
  wrk.headers[name] = value
end
good = 0
function setup(thread) table.insert(threads, thread) end
function response(status, headers, body)
  if status == 200 and string.find(body, expected, 1, true) then good = good + 1 end
end
function done(summary, latency, requests)
  local all = 0
  for _, thread in ipairs(threads) do all = all + thread:get("good") end
  io.write(string.format('RESULT {"good": %d, "all": %d, "seconds": %f, "p50": %f, "p99": %f}\\n',
    all, summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What one round of load gave. ``good`` answers per second; times in milliseconds; ``bad`` is the share of other answers."""

    good: float
    bad: float
    p50: float
    p99: float


def driver() -> str:
    """Which driver is used."""
    return "wrk" if shutil.which("wrk") else "the benchmark's own driver (wrk is not installed; it takes more of the machine)"


def drive(port: int, path: str, request: Request, connections: int, seconds: float) -> Load:
    """Keep so many connections busy for so long."""
    if shutil.which("wrk"):
        return _drive_wrk(port, path, request, connections, seconds)
    return asyncio.run(_drive(port, path, request, connections, seconds))


def _drive_wrk(port: int, path: str, request: Request, connections: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "load.lua")
        body.write_bytes(request.body)
        script.write_text(_LUA)
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        environ = {**os.environ, "BENCH_BODY": str(body), "BENCH_EXPECTED": request.expected, "BENCH_HEADERS": headers}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "--latency", "-s", str(script)]
        told = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], env=environ, capture_output=True, text=True, timeout=seconds + 60, check=True
        )
    (line,) = (line for line in told.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    return Load(
        result["good"] / result["seconds"], 1 - result["good"] / result["all"] if result["all"] else 1.0, result["p50"], result["p99"]
    )


# Our own driver: one task for each connection, one request at a time on it.


async def _drive(port: int, path: str, request: Request, connections: int, seconds: float) -> Load:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(request.body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    message = "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body
    until = time.perf_counter() + seconds
    tasks = [_connection(port, message, request.expected.encode(), until) for _ in range(connections)]
    began = time.perf_counter()
    outcomes = await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    times = [took for taken, _ in outcomes for took in taken] or [0.0, 0.0]
    good, every = sum(good for _, good in outcomes), sum(len(taken) for taken, _ in outcomes)
    quantiles = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return Load(good / spent, 1 - good / every if every else 1.0, quantiles[49] * 1e3, quantiles[98] * 1e3)


async def _connection(port: int, message: bytes, expected: bytes, until: float) -> tuple[list[float], int]:
    times: list[float] = []
    good = 0
    writer: asyncio.StreamWriter | None = None
    while time.perf_counter() < until:
        began = time.perf_counter()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
            writer.write(message)
            await writer.drain()
            status, body, keep = await asyncio.wait_for(_answer(reader), 10)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            status, body, keep = 0, b"", False
            await asyncio.sleep(0.001)
        times.append(time.perf_counter() - began)
        good += status == 200 and expected in body
        if not keep and writer is not None:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()
    return times, good


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    keep = fields.get(b"connection", b"") != b"close"
    if b"content-length" in fields:
        return status, await reader.readexactly(int(fields[b"content-length"])), keep
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return status, b"".join(pieces), keep
