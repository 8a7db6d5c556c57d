"""Cog's style of predictor: a class with ``setup`` and ``predict`` (or ``run``), or a function, with typed inputs."""

import atexit
import os
from time import perf_counter
from types import GeneratorType

from lading_worker import inputs
from lading_worker.batch_outputs import WrongOutputs, check_outputs
from lading_worker.coders import decoders
from lading_worker.encode import EncodeError, encode
from lading_worker.files import InputFiles
from lading_worker.loading import trace
from lading_worker.quick import Quick, read
from lading_worker.scope import CancelationException

_MALFORMED = "the input is no JSON that can be read: {}"


class CogStyle:
    """Drives one predictor. ``load`` is what LOAD says, ``target`` the class or function."""

    def __init__(self, load, target):
        self._load, self._target = load, target
        self._signature = load["signature"]
        self._upload_url = load.get("upload_url")
        self._predictor = None
        self._function = None
        self._enums = {}
        self._decoders = {}
        signature = self._signature or {}
        self.asynchronous = bool(signature.get("asynchronous"))
        self.streaming = bool(signature.get("streaming"))
        self.healthcheck = None
        self._piecewise = signature.get("output", {}).get("kind") == "iterator"
        self._quick = Quick(self._signature)
        self.encoder = self._quick.name
        self._loads_files = any(_loads_files(field["type"]) for field in signature.get("inputs", ()))

    # Setup

    def setup(self):
        """Make the predictor and set it up. Returns a coroutine to wait for if ``setup`` is asynchronous, else None."""
        if not isinstance(self._target, type):
            self._function = self._target
            self._find_enums()
            return None
        self._predictor = self._target()
        name = (self._signature or {}).get("method") or ("run" if hasattr(self._predictor, "run") else "predict")
        self._function = getattr(self._predictor, name)
        self.healthcheck = getattr(self._predictor, "healthcheck", None)
        self._find_enums()
        setup = getattr(self._predictor, "setup", None)
        if setup is None:
            return None
        waiting = setup(**self._weights())
        return waiting if hasattr(waiting, "__await__") else None

    def _find_enums(self):
        if self._signature is not None:
            function = _unwrapped(self._function)
            self._enums = inputs.enum_classes(self._signature, function)
            self._decoders = decoders(self._signature, function)

    def _weights(self):
        """The ``weights`` of ``setup``: what ``COG_WEIGHTS`` says, else the folder or file ``weights``, else None, as in Cog."""
        kind = ((self._signature or {}).get("setup") or {}).get("weights")
        if kind is None:
            return {}
        given = os.environ.get("COG_WEIGHTS")
        files = InputFiles(None, trusted=True)
        atexit.register(files.close)
        if not given and os.path.exists("weights"):
            given = os.path.abspath("weights")
        if not given or kind in ("str", "any"):
            return {"weights": given or None}
        # The operator may name a file of the machine, as the author may.
        return {"weights": getattr(files, "default_" + kind)(given)}

    # Predictions

    def answer(self, call):
        """Run one prediction and send its answer.

        Raises:
            SystemExit, KeyboardInterrupt: raised by the model.
        """
        files = InputFiles(call.head.get("scratch"))
        try:
            arguments = self._bind(call, files)
            call.began = perf_counter()
            body = self._run(call, arguments)
        except BaseException as error:
            files.close()
            _tell(call, error)
        else:
            call.succeeded(body)
            # After the answer: who waits for it need not wait for the disk.
            files.close()

    def _bind(self, call, files):
        value = _parse(call.body, self._quick.loads)
        if self._signature is None:
            return value or {}
        for name in inputs.unknown_inputs(self._signature, value):
            note = f"The predictor has no input {name!r}; it was left out.\n"
            call.output.write("stderr", note.encode("utf-8", "backslashreplace"))
        if not self._loads_files:
            return self._decoded(inputs.bind(self._signature, value, files, self._enums))
        call.expose()  # downloads take their time
        try:
            files.fetch(self._signature, value)
            return self._decoded(inputs.bind(self._signature, value, files, self._enums))
        finally:
            call.shield()

    def _decoded(self, arguments):
        for name, decode in self._decoders.items():
            if arguments.get(name) is not None:
                arguments[name] = decode(arguments[name])
        return arguments

    def _run(self, call, arguments):
        call.expose()
        try:
            value = self._function(**arguments)
        finally:
            call.shield()
        encoder = self._encoder(call)
        return self._send_pieces(call, iter(value), encoder) if self._has_pieces(value) else encoder(value)

    def _encoder(self, call):
        """What writes the outputs of one prediction: files go to the upload URL, if there is one."""
        if self._upload_url is None:
            return self._encode
        from lading_worker.uploads import Uploads

        uploads = Uploads(self._upload_url, call.head)
        return lambda value: encode(value, uploads=uploads)

    def _encode(self, value):
        quick = self._quick.dumps
        return (quick and quick(value)) or encode(value)

    def _has_pieces(self, value):
        return isinstance(value, GeneratorType) or (
            self._piecewise and hasattr(value, "__iter__") and not isinstance(value, (str, bytes, dict))
        )

    def _send_pieces(self, call, pieces, encoder):
        sent = []
        try:
            while True:
                call.expose()
                try:
                    piece = next(pieces)
                except StopIteration:
                    break
                finally:
                    call.shield()
                sent.append(encoder(piece))
                call.chunk(len(sent) - 1, sent[-1])
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        return b"[" + b",".join(sent) + b"]"

    # Several predictions in one call of the model

    def answer_batch(self, batch, look):
        """Run one `lading_worker.batching.Batch` and send its answers; ``look`` is called before the first is sent.

        Raises:
            SystemExit, KeyboardInterrupt: raised by the model.
        """
        files = []
        try:
            answers = self._run_batch(batch, list(self._bind_batch(batch, files)))
        finally:
            for own in files:
                own.close()
        look()
        for call, body, error in answers:
            if not batch.settle(call):
                continue
            if error is None:
                call.succeeded(body)
            else:
                _tell(call, error)

    def _bind_batch(self, batch, files):
        for call in batch.left():
            own = InputFiles(call.head.get("scratch"))
            files.append(own)
            try:
                arguments = self._bind(call, own)
            except BaseException as error:
                if isinstance(error, (SystemExit, KeyboardInterrupt)) or batch.settle(call):
                    _tell(call, error)
            else:
                yield call, arguments

    def _run_batch(self, batch, bound):
        """``(call, body, error)`` of each call."""
        if not bound:
            return []
        began = perf_counter()
        for call, _ in bound:
            call.began = began
        try:
            batch.expose()
            try:
                value = self._function(**{name: [arguments[name] for _, arguments in bound] for name in bound[0][1]})
            finally:
                batch.shield()
            outputs = check_outputs(value, len(bound), self._function.__name__)
        except BaseException as error:
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise
            return [(call, None, error) for call, _ in bound]
        return [self._encode_one(call, output) for (call, _), output in zip(bound, outputs)]

    def _encode_one(self, call, output):
        try:
            return call, self._encoder(call)(output), None
        except Exception as error:
            return call, None, error

    # The same for asynchronous predictors, in the event loop

    async def answer_async(self, call):
        """As `answer`, for a predictor whose ``predict`` is asynchronous."""
        files = InputFiles(call.head.get("scratch"))
        try:
            try:
                arguments = await self._bind_async(call, files)
                call.began = perf_counter()
                body = await self._run_async(call, arguments)
            finally:
                files.close()
        except BaseException as error:
            _tell(call, error)
        else:
            call.succeeded(body)

    async def _bind_async(self, call, files):
        if not self._loads_files:
            return self._bind(call, files)
        import asyncio

        # Downloads must not hold the event loop. The thread is waited for, if briefly when canceled: what it makes is removed afterwards.
        binding = asyncio.get_event_loop().run_in_executor(None, self._bind, call, files)
        try:
            return await asyncio.shield(binding)
        except asyncio.CancelledError:
            files.abandon()
            await asyncio.wait([binding])
            raise

    async def _run_async(self, call, arguments):
        value = self._function(**arguments)
        if hasattr(value, "__await__"):
            value = await value
        encoder = self._encoder(call)
        if hasattr(value, "__aiter__"):
            return await self._send_pieces_async(call, value, encoder)
        if self._has_pieces(value):
            return self._send_pieces(call, iter(value), encoder)
        return await self._encoded(encoder, value)

    async def _encoded(self, encoder, value):
        if self._upload_url is None:
            return encoder(value)
        import asyncio

        # Uploads must not hold the event loop.
        return await asyncio.get_event_loop().run_in_executor(None, encoder, value)

    async def _send_pieces_async(self, call, pieces, encoder):
        sent = []
        try:
            async for piece in pieces:
                sent.append(await self._encoded(encoder, piece))
                call.chunk(len(sent) - 1, sent[-1])
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
        return b"[" + b",".join(sent) + b"]"


def _unwrapped(function):
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _loads_files(kind):
    inner = [kind.get("items"), kind.get("values")] if kind["kind"] in ("list", "dict") else kind.get("types", [])
    return kind["kind"] in ("path", "file") or any(_loads_files(part) for part in inner if part)


def _parse(body, quick):
    if quick is not None:
        try:
            return quick(body)
        except ValueError:  # `json` may read it, or say in its own words why not
            pass
    try:
        return read(body) if body else None
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:
        problem = str(error)
    raise inputs.InvalidInput([{"loc": ["body", "input"], "msg": _MALFORMED.format(problem), "type": "value_error"}])


def _tell(call, error):
    """Answer for an exception: its text to the client, as in Cog, its traceback to the log."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        raise error
    if isinstance(error, inputs.InvalidInput):
        call.invalid(error.detail)
    elif isinstance(error, CancelationException) or (call.canceled and type(error).__name__ == "CancelledError"):
        call.stopped()
    else:
        call.failed(error, None if isinstance(error, (EncodeError, WrongOutputs)) else trace(error))
