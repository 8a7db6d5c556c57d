"""The gRPC side of the server: grpcio behind the server's own port, with reflection.

It needs the extra ``lading[grpc]`` where Lading is installed; the model's environment needs ``protobuf`` alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

from lading.service.app import App
from lading.service.grpc_calls import GrpcRoutes
from lading.service.guard import GUARD
from lading.service.http_server import most_connections
from lading.service.tunnel import Tunnels

_REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_PATIENCE = [
    # Idle connections are closed, which clients open again, and those whose client has vanished.
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.server_handshake_timeout_ms", 20_000),
]
_FEWEST, _FILES_EACH = 16, 4
_LONGEST_PATH = 80  # a socket's path has room for about 100 characters


class GrpcServer:
    """gRPC for an `App`: a method is answered by the `GrpcRoutes` that the app has at its path, whatever they are when it is called."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._folder = tempfile.mkdtemp(prefix="lading-", dir=None if len(tempfile.gettempdir()) < _LONGEST_PATH else "/tmp")  # noqa: S108 - a folder of its own in it
        GUARD.folder(self._folder)
        self._path = str(Path(self._folder) / "grpc")
        limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", app.max_body)]
        self._server = grpc.aio.server(options=[*limits, *_PATIENCE])
        self._server.add_generic_rpc_handlers((_Methods(app),))
        self._server.add_insecure_port(f"unix:{self._path}")
        self._tunnels = Tunnels(self._path, max(_FEWEST, most_connections() // _FILES_EACH), app.patience)

    async def start(self) -> None:
        """Take connections."""
        await self._server.start()
        self._app.http2 = self._tunnels.take

    async def stop(self, grace: float) -> None:
        """Take no more calls, and let running ones finish for so many seconds. A second time does nothing."""
        self._app.http2 = None
        self._tunnels.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._server.stop(grace)
        shutil.rmtree(self._folder, ignore_errors=True)
        GUARD.forget(self._folder)


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
    """Finds what answers a method."""

    def __init__(self, app: App) -> None:
        self._app = app
        reflection = Reflection(app)
        self._reflection = grpc.stream_stream_rpc_method_handler(
            reflection.answer,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See `grpc.GenericRpcHandler`."""
        service, _, rpc = handler_call_details.method.removeprefix("/").rpartition("/")
        if service in _REFLECTION and rpc == "ServerReflectionInfo":
            return self._reflection
        routes = self._app.owner(handler_call_details.method)
        return routes.handler(rpc) if isinstance(routes, GrpcRoutes) else None


class Reflection:
    """Server reflection (both its versions, which have the same messages): which services there are, and their files.

    Read from the app at each request, as APIs may be replaced. Two APIs may have files of the same name.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def answer(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """One answer for each request."""
        async for request in requests:
            yield self._one(request)

    def _one(self, request: Any) -> Any:
        kind = request.WhichOneof("message_request")
        answer = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
        if kind == "list_services":
            names = sorted({*_REFLECTION, *(routes.told["service"] for routes in self._routes())})
            answer.list_services_response.service.extend(reflection_pb2.ServiceResponse(name=name) for name in names)
            return answer
        found = self._files(kind, request)
        if found:
            answer.file_descriptor_response.file_descriptor_proto.extend(file.SerializeToString() for file in found)
        else:
            answer.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            answer.error_response.error_message = "not found"
        return answer

    def _routes(self) -> Iterator[GrpcRoutes]:
        yield from (owner for owner in self._app.owners() if isinstance(owner, GrpcRoutes))

    def _files(self, kind: str, request: Any) -> list[FileDescriptorProto]:
        """The file that is asked for, and all that it imports."""
        for routes in self._routes():
            files = list(FileDescriptorSet.FromString(base64.b64decode(routes.told["descriptors"])).file)
            if kind == "file_by_filename":
                wanted = next((file for file in files if file.name == request.file_by_filename), None)
            elif kind == "file_containing_symbol":
                wanted = next((file for file in files if request.file_containing_symbol in symbols(file)), None)
            else:
                wanted = None
            if wanted is not None:
                return _with_imports(wanted, {file.name: file for file in files})
        return []


def symbols(file: FileDescriptorProto) -> set[str]:
    """The full names of all that a file defines."""
    prefix = f"{file.package}." if file.package else ""
    found = {f"{prefix}{one.name}" for one in (*file.service, *file.enum_type, *file.extension)}
    found |= {f"{prefix}{service.name}.{method.name}" for service in file.service for method in service.method}
    return found | set(_of_messages(file.message_type, prefix))


def _of_messages(messages: Iterable[DescriptorProto], prefix: str) -> Iterator[str]:
    for message in messages:
        yield f"{prefix}{message.name}"
        inside = f"{prefix}{message.name}."
        yield from (f"{inside}{one.name}" for one in (*message.field, *message.enum_type, *message.extension))
        yield from _of_messages(message.nested_type, inside)


def _with_imports(file: FileDescriptorProto, files: dict[str, FileDescriptorProto]) -> list[FileDescriptorProto]:
    found, waiting = {file.name: file}, list(file.dependency)
    while waiting:
        name = waiting.pop()
        if name not in found and name in files:
            found[name] = files[name]
            waiting += files[name].dependency
    return list(found.values())
