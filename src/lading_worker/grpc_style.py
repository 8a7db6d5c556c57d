"""Cortex's predictors behind gRPC (``protobuf_path``): a message in, a message out, or streams of them.

PREDICT's head says the ``rpc``, the client's ``metadata``, ``peer`` and ``deadline`` (seconds since the epoch); the body is the message.
Of a stream of requests the messages come one by one, by MORE. A message of a stream of answers is a CHUNK; CHUNK -1 is metadata that goes
before them. DONE's headers are ``grpc-status`` and ``grpc-message``, then the trailing metadata.
"""

import base64
import json
import sys
import time

from lading_worker import ending
from lading_worker.cortex_style import CortexStyle
from lading_worker.loading import trace
from lading_worker.messages import Messages
from lading_worker.scope import CancelationException

OK, INTERNAL = 0, 13
_ERROR = "internal server error"


class AbortError(Exception):
    """Raised by ``context.abort`` to leave the model's code, as grpc does."""


class Context:
    """The ``context`` of a call, with the methods of ``grpc.ServicerContext`` that make sense here.

    Status codes are members of ``grpc.StatusCode``, or whole numbers.
    """

    def __init__(self, call):
        self._call = call
        self._metadata = [(name, _value(name, text)) for name, text in call.head.get("metadata") or ()]
        self._deadline = call.head.get("deadline")
        self._sent = self.aborted = False
        self.status, self.message, self.trailing = OK, "", []
        self._callbacks = []
        self._over = False

    def invocation_metadata(self):
        """What the client sent along: ``(key, value)`` pairs; values of keys that end with ``-bin`` are bytes."""
        return tuple(_Pair(pair) for pair in self._metadata)

    def peer(self):
        """Where the call came from, as the server's gRPC knows it."""
        return self._call.head.get("peer") or ""

    def peer_identities(self):
        """None: clients are not authenticated."""

    def peer_identity_key(self):
        """None: clients are not authenticated."""

    def auth_context(self):
        """Nothing: clients are not authenticated."""
        return {}

    def time_remaining(self):
        """Seconds until the client's deadline; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.time())

    def is_active(self):
        """Whether the call is still to be answered."""
        return not self._over and not self._call.canceled

    def add_callback(self, callback):
        """Call a function when the call is over; False if it is over already."""
        if self._over:
            return False
        self._callbacks.append(callback)
        return True

    def cancel(self):
        """End the call.

        Raises:
            AbortError: always, so that the model's code is left.
        """
        self.abort(1, "Cancelled on the server side")

    def send_initial_metadata(self, metadata):
        """Send metadata before the answer.

        Raises:
            ValueError: when it is called a second time.
        """
        if self._sent:
            raise ValueError("Initial metadata no longer allowed!")
        self._sent = True
        self._call.chunk(-1, json.dumps(_pairs(metadata)).encode())

    def set_trailing_metadata(self, metadata):
        """Metadata that goes after the answer."""
        self.trailing = _pairs(metadata)

    def trailing_metadata(self):
        """What `set_trailing_metadata` was given."""
        return tuple((name, _value(name, text)) for name, text in self.trailing)

    def set_code(self, code):
        """The status of the call."""
        self.status = _number(code)

    def set_details(self, details):
        """What the client is told beside the status."""
        self.message = _text(details)

    def code(self):
        """The status, as a number."""
        return self.status

    def details(self):
        """What `set_details` was given."""
        return self.message

    def abort(self, code, details=""):
        """End the call with a status.

        Raises:
            AbortError: always, so that the model's code is left.
            ValueError: for the status OK, which is no reason to abort.
        """
        if _number(code) == OK:
            raise ValueError("abort() called with code OK")
        self.aborted, self.status, self.message = True, _number(code), _text(details)
        raise AbortError(self.message)

    def abort_with_status(self, status):
        """As `abort`, with the ``code``, ``details`` and ``trailing_metadata`` of a ``grpc.Status``."""
        self.set_trailing_metadata(status.trailing_metadata or ())
        self.abort(status.code, status.details)

    def set_compression(self, compression):
        """Accepted, without effect: the server answers uncompressed."""

    def disable_next_message_compression(self):
        """Accepted, without effect."""

    def end(self):
        """The call is over. Returns DONE's headers."""
        self._over = True
        return [["grpc-status", str(self.status)], ["grpc-message", self.message], *map(list, self.trailing)]

    def tell_end(self):
        """Run the callbacks."""
        for callback in self._callbacks:
            callback()


class _Pair(tuple):
    """``(key, value)`` with these as attributes, as grpc's metadata has them."""

    __slots__ = ()
    key = property(lambda self: self[0])
    value = property(lambda self: self[1])


class Requests:
    """A client's stream of messages, as they come. An iterator for the model's code.

    One that is broken off never looks like one that is whole: ``CancelationException`` is raised, as by a cancelation.
    """

    def __init__(self, call, read):
        self._call, self._read = call, read
        self._over = None

    def __iter__(self):
        return self

    def __next__(self):
        if self._over is not None:
            raise self._over
        self._call.shield()
        try:
            frame = self._call.more()
            if frame is None:
                ending.front_is_gone()
            head = json.loads(frame[2].decode())
            if head.get("end"):
                self._over = StopIteration
            elif head.get("broken"):
                self._over = CancelationException
                self._call.canceled = True  # CANCEL, which comes too, must not interrupt what the model does about it
        finally:
            self._call.expose()
        if self._over is not None:
            raise self._over
        return self._read(frame[3])


class WrongMessageError(Exception):
    """Bytes that are no message of the right kind; the message is for the client, as grpc says it."""


def make(load):
    """What makes the style of a predictor. The module of its messages is there from now on: the predictor may import it by name.

    Raises:
        LoadError: if the environment has no protobuf.
    """
    told = load["cortex"]["grpc"]
    messages = Messages(base64.b64decode(told["descriptors"]), told["path"], told["service"])
    return lambda load, target: GrpcStyle(load, target, messages)


class GrpcStyle(CortexStyle):
    """Drives one predictor; see the module."""

    asynchronous = False
    healthcheck = None
    encoder = "json"

    def __init__(self, load, target, messages):
        self._messages, self._rpcs, self._answers_to = messages, load["cortex"]["grpc"]["methods"], {}
        super().__init__(load, target)
        self.streaming = any(rpc["gives_stream"] for rpc in self._rpcs.values())
        self.model_metadata = None

    def _find_methods(self):
        """What answers each rpc: ``predict``, or a Handler's method of the same name."""
        for rpc in self._rpcs:
            method = rpc if self._name == "Handler" else "predict"
            self._answers_to[rpc] = method, self._arguments(method, ("payload", "context"), required=("self",))

    def _init_values(self):
        module = self._messages.module
        # Cortex's documentation says the one, its code the other.
        return dict(super()._init_values(), proto_module_pb2=module, module_proto_pb2=module)

    def answer(self, call):
        """Run one call and send what came of it; returns what is to be run afterwards, or None.

        Raises:
            SystemExit, KeyboardInterrupt: raised by the model.
        """
        context, body = Context(call), b""
        try:
            body = self._run(call, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except CancelationException:
            call.stopped()
            return context.tell_end
        except WrongMessageError as error:
            context.status, context.message = INTERNAL, str(error)
        except BaseException as error:
            if not context.aborted:
                call.report(error, trace(error))
                context.status, context.message = INTERNAL, _ERROR
        finished = context.status == OK
        call.done({"status": 200 if finished else 500, "headers": context.end()}, body if finished else b"")
        return context.tell_end

    def _run(self, call, context):
        rpc = call.head["rpc"]
        method, wanted = self._answers_to[rpc]
        descriptor, streams = self._messages.service.methods_by_name[rpc], self._rpcs[rpc]
        read = _reader(self._messages.class_of(descriptor.input_type))
        payload = Requests(call, read) if streams["takes_stream"] else read(call.body)
        values = {"payload": payload, "context": context}
        call.expose()
        try:
            answer = getattr(self._predictor, method)(**{name: values[name] for name in wanted})
            if streams["gives_stream"]:
                self._send(call, answer, descriptor.output_type)
                return b""
        finally:
            call.shield()
        return b"" if context.aborted else _written(answer, descriptor.output_type, rpc)

    @staticmethod
    def _send(call, answers, kind):
        """Send a stream of answers, each as soon as the model yields it. The model's steps alone can be interrupted."""
        pieces, number = iter(answers), 0
        try:
            for piece in pieces:
                call.shield()
                call.chunk(number, _written(piece, kind, call.head["rpc"]))
                number += 1
                call.expose()
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


def _reader(kind):
    def read(data):
        try:
            return kind.FromString(data)
        except Exception:  # protobuf's DecodeError, whose place differs between versions
            raise WrongMessageError("Exception deserializing request!") from None

    return read


def _written(answer, kind, rpc):
    """A message as bytes.

    Raises:
        WrongMessageError: in grpc's words, if it is no message of the kind that the rpc returns; the log says what it is.
    """
    found = getattr(getattr(answer, "DESCRIPTOR", None), "full_name", None)
    if found != kind.full_name:
        sys.stderr.write(
            "{} returns {}, and the predictor returned {}.\n".format(
                rpc, kind.full_name, found or "the " + type(answer).__name__ + " " + repr(answer)[:200]
            )
        )
        raise WrongMessageError("Failed to serialize response!")
    try:
        return answer.SerializeToString()
    except Exception as error:  # a required field of proto2 is missing
        sys.stderr.write(trace(error))
        raise WrongMessageError("Failed to serialize response!") from None


def _number(code):
    """A status as a number: ``grpc.StatusCode.NOT_FOUND`` is 5."""
    value = getattr(code, "value", code)
    return int(value[0] if isinstance(value, tuple) else value)


def _text(details):
    return details.decode("utf-8", "replace") if isinstance(details, bytes) else str(details or "")


def _pairs(metadata):
    """Metadata as JSON can tell it: bytes in base64."""
    pairs = []
    for name, value in metadata or ():
        pairs.append([str(name), base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)])
    return pairs


def _value(name, text):
    return base64.b64decode(text) if name.endswith("-bin") else text
