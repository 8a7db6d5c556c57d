"""The models that every server serves: no server's names in here."""

import base64
import os
import threading
import time

WORKLOAD = os.environ.get("WORKLOAD", "echo")
TOKENS = 20
FIXED, ITEM = 0.005, 0.0001  # seconds that the batchable model takes for a call and for each of its items: a GPU's way
_lock = threading.Lock()


def weights():
    """The matrix of ``matmul``."""
    import numpy as np

    rows, columns = np.indices((784, 10))
    return (((rows * 7 + columns * 13) % 23 - 11) / 8).astype(np.float32)


MATRIX = weights() if WORKLOAD == "matmul" else None


def echo(text):
    return "hello " + text


def sleep(text):
    time.sleep(0.001)
    return "hello " + text


def matmul(x):
    import numpy as np

    return (np.asarray(x, dtype=np.float32) @ MATRIX).tolist()


def blob(data):
    return f"{len(data)} bytes"


def blob64(data):
    return blob(base64.b64decode(data))


def stream(text):
    for number in range(TOKENS):
        yield f"{text}{number} "


def batch(texts):
    """One call at a time, as on a device."""
    with _lock:
        time.sleep(FIXED + ITEM * len(texts))
    return ["hello " + text for text in texts]


def one(text):
    return batch([text])[0]


PREDICT = {"echo": echo, "sleep": sleep, "matmul": matmul, "blob": blob64, "batch": one}.get(WORKLOAD)
FIELD = {"matmul": "x", "blob": "data"}.get(WORKLOAD, "text")
