"""One call by gRPC with a payload that is JSON: the messages are known by the server's reflection."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from lading.model.problems import ExitCode, LadingError, Problem


def call(url: str, path: str, payload: Any) -> Any:
    """Call the method at ``path`` of the server at ``url``; the answer as JSON data, a list where it is a stream.

    ``payload`` is the message by the names of its fields, or a list of messages for a method that takes a stream.

    Raises:
        LadingError: if the extra ``lading[grpc]`` is missing, the payload does not fit, or the call fails.
    """
    try:
        import grpc  # noqa: PLC0415 - an extra
        from google.protobuf import json_format, message_factory  # noqa: PLC0415
        from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase  # noqa: PLC0415
    except ImportError as error:
        raise LadingError(_not_installed(path)) from error
    service, _, name = path.strip("/").rpartition("/")
    with grpc.insecure_channel(urlsplit(url).netloc) as channel:
        try:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            method = pool.FindServiceByName(service).FindMethodByName(name)
            asked, told = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
            kinds = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
            make = getattr(channel, "_".join(kinds))
            ask = make(path, request_serializer=asked.SerializeToString, response_deserializer=told.FromString)
            messages = [json_format.ParseDict(one, asked()) for one in (payload if method.client_streaming else [payload])]
            answer = ask(iter(messages) if method.client_streaming else messages[0])
            found = [
                json_format.MessageToDict(one, preserving_proto_field_name=True)
                for one in (answer if method.server_streaming else [answer])
            ]
        except (json_format.ParseError, TypeError, AttributeError) as error:
            raise LadingError(_wrong(path, str(error))) from error
        except grpc.RpcError as error:
            raise LadingError(_failed(error)) from error
    return found if method.server_streaming else found[0]


def _not_installed(path: str) -> Problem:
    return Problem(
        rule="grpc-not-installed",
        what=f"{path} is called by gRPC, which is not installed beside Lading.",
        instead="Install lading[grpc], for example with `uv tool install 'lading[grpc]'`.",
    )


def _wrong(path: str, reason: str) -> Problem:
    return Problem(
        rule="input-invalid",
        what=f"The payload is no message for {path}: {reason}.",
        instead="Write the message as a JSON object, by the names of its fields; for a stream, a list of them.",
    )


def _failed(error: Any) -> Problem:
    code = error.code().name
    mine = code in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED")
    what = f"The server answers {code}: {error.details()}"
    return Problem(rule="server-refused", what=what, code=ExitCode.USAGE if mine else ExitCode.MODEL)
