"""A small worker of the tests' own: speaks the protocol with the standard library, and misbehaves on request.

``config`` of LOAD says how setup goes (``setup``); a call's input says what predict does (``do``). One thread per slot, slot 0 in the
main thread.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

LOAD, CANCEL, QUIT, CHECK, HELLO, READY, SETUP_FAILED, LOG, HEALTH = 1, 2, 3, 4, 10, 11, 12, 13, 14
PREDICT, CHUNK, DONE, INVALID, METRIC = 20, 21, 22, 23, 24
PREFIX = struct.Struct("!IBQ")


class Channel:
    def __init__(self, number):
        self.socket = socket.socket(fileno=number)
        self.file = self.socket.makefile("rb")
        self.lock = threading.Lock()

    def read(self):
        prefix = self.file.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            return None
        length, kind, call = PREFIX.unpack(prefix)
        payload = self.file.read(length)
        (head,) = struct.unpack_from("!I", payload)
        return kind, call, json.loads(payload[4 : 4 + head] or b"{}"), payload[4 + head :]

    def send(self, kind, call, head, body=b""):
        head = json.dumps(head).encode()
        with self.lock:
            self.socket.sendall(PREFIX.pack(4 + len(head) + len(body), kind, call) + struct.pack("!I", len(head)) + head + body)


class CanceledError(Exception):
    pass


canceled: set[int] = set()
seen: list[str] = []


def main():
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    control = Channel(int(options["--control"]))
    slots = [Channel(int(number)) for number in options["--slots"].split(",")]
    _kind, _call, load, _body = control.read()
    control.send(HELLO, 0, {"pid": os.getpid(), "python": "3.11.0", "implementation": "cpython"})
    set_up(control, load["config"])
    threading.Thread(target=serve_control, args=(control, load["config"]), daemon=True).start()
    for slot in slots[1:]:
        threading.Thread(target=serve_slot, args=(slot, load), daemon=True).start()
    ready = {"setup_seconds": 0.01, "asynchronous": False, "streaming": True, "healthcheck": "healthy" in load["config"], "encoder": "json"}
    control.send(READY, 0, ready)
    serve_slot(slots[0], load)


def set_up(control, config):
    control.send(LOG, 0, {"source": "stdout"}, b"loading weights\n")
    how = config.get("setup", "fine")
    time.sleep(config.get("setup_sleep", 0))
    while "setup_until" in config and not Path(config["setup_until"]).exists():
        time.sleep(0.01)
    marker = Path(config["marker"]) if "marker" in config else None
    if marker and marker.exists() and how == "fails-again":
        os._exit(9)
    if marker:
        marker.touch()
    if how == "raises":
        trace = 'Traceback (most recent call last):\n  File "predict.py", line 7, in setup\nRuntimeError: no weights\n'
        head = {
            "phase": "setup",
            "error": "RuntimeError: no weights",
            "kind": "RuntimeError",
            "traceback": trace,
            "file": "predict.py",
            "line": 7,
        }
        control.send(SETUP_FAILED, 0, {**head, "exit_code": 1})
        sys.exit(1)
    if how == "exits":
        os._exit(7)
    if how == "hangs":
        time.sleep(600)


def serve_control(control, config):
    while True:
        frame = control.read()
        if frame is None or frame[0] == QUIT:
            os._exit(0)
        if frame[0] == CANCEL:
            canceled.add(frame[1])
        if frame[0] == CHECK:
            well = config["healthy"]
            control.send(HEALTH, 0, {"healthy": well, "error": None if well else "the sensor is cold"})


def serve_slot(slot, load):
    while True:
        frame = slot.read()
        if frame is None:
            os._exit(0)
        _kind, call, head, body = frame
        if load["style"] == "cortex":
            cortex(slot, call, head, body)
            continue
        given = json.loads(body)
        if not isinstance(given, dict) or "bad" in given:
            detail = [{"loc": ["body", "input", "bad"], "msg": "unexpected", "type": "value_error"}]
            slot.send(INVALID, call, {"detail": detail})
            continue
        began = time.monotonic()
        status, error, output = "succeeded", None, None
        try:
            output = predict(slot, call, head, given)
        except CanceledError:
            status = "canceled"
        except Exception as failure:  # noqa: BLE001 - whatever predict raises is its answer
            status, error = "failed", str(failure)
        answer = {"status": status, "metrics": {}, "predict_time": time.monotonic() - began}
        if error:
            answer["error"] = error
        slot.send(DONE, call, answer, b"" if status == "canceled" else json.dumps(output).encode())


def nap(call, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if call in canceled:
            raise CanceledError
        time.sleep(0.01)


def predict(slot, call, head, given):
    seen.append(given.get("tag"))
    return DO[given.get("do", "echo")](slot, call, head, given)


def say(slot, call, _head, given):
    slot.send(LOG, call, {"source": "stdout"}, given["text"].encode())


def fail(slot, call, _head, _given):
    slot.send(LOG, call, {"source": "stderr"}, b"Traceback: the reason\n")
    raise RuntimeError("the reason")


def sleep(_slot, call, _head, given):
    nap(call, given["seconds"])
    return "slept"


def until(_slot, call, _head, given):
    while not Path(given["file"]).exists():
        nap(call, 0.01)
    return "slept"


def stream(slot, call, _head, given):
    for index in range(given["count"]):
        nap(call, given.get("seconds", 0.01))
        slot.send(LOG, call, {"source": "stdout"}, b"step %d\n" % index)
        slot.send(CHUNK, call, {"index": index}, json.dumps(f"piece {index}").encode())
    slot.send(METRIC, call, {"name": "tokens", "value": given["count"], "mode": "replace"})
    return [f"piece {index}" for index in range(given["count"])]


def exhaust_memory(_slot, _call, _head, _given):
    # What the kernel's out-of-memory killer does.
    os.kill(os.getpid(), signal.SIGKILL)


def garbage(slot, _call, _head, _given):
    slot.socket.sendall(b"this is no frame at all, is it?")
    time.sleep(600)


def child(_slot, _call, _head, _given):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def litter(slot, call, head, given):
    """Leaves a file in its scratch folder and does not come back."""
    Path(head["scratch"]).mkdir()
    (Path(head["scratch"]) / "left").write_text("x")
    DO[given["then"]](slot, call, head, {})


DO = {
    "litter": litter,
    "echo": lambda _slot, _call, _head, given: given.get("value"),
    "seen": lambda *_: [tag for tag in seen if tag],
    "head": lambda _slot, _call, head, _given: head,
    "pid": lambda *_: os.getpid(),
    "environment": lambda *_: dict(os.environ),
    "say": say,
    "say-raw": lambda _slot, _call, _head, given: (os.write(2, given["text"].encode()), None)[1],
    "raise": fail,
    "sleep": sleep,
    "until": until,
    "hang": lambda *_: time.sleep(600),
    "stream": stream,
    "exit": lambda _slot, _call, _head, given: os._exit(given.get("code", 3)),
    "segfault": lambda *_: ctypes.string_at(0),
    "kill": exhaust_memory,
    "garbage": garbage,
    "child": child,
}


def cortex(slot, call, head, body):
    if head["path"].endswith("/crash") or b"crash" in body:
        os._exit(1)
    if b"hang" in body:
        time.sleep(600)
    if b"no-type" in body:
        slot.send(DONE, call, {"status": 500, "headers": []}, b"internal server error")
        return
    headers = [
        ["content-type", "application/json"],
        ["x-model", "iris"],
        ["content-length", "9999"],
        ["bad header", "x"],
        ["x-split", "a\r\nb: c"],
    ]
    slot.send(DONE, call, {"status": 200, "headers": headers}, json.dumps({"head": head, "body": body.decode("latin-1")}).encode())


if __name__ == "__main__":
    main()
