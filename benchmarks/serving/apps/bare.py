"""The ceiling: an ASGI application without a framework, the model in its process."""

import json

import msgspec
from models import FIELD, PREDICT, WORKLOAD, stream

decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
HEADERS = [(b"content-type", b"application/json")]


async def app(scope, receive, send):
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    value = decode(b"".join(parts))[FIELD]
    if WORKLOAD == "stream":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for token in stream(value):
            await send({"type": "http.response.body", "body": f"data: {json.dumps(token)}\n\n".encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = encode({"output": PREDICT(value)})
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
