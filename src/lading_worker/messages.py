"""The module of messages that ``protoc`` would generate from a ``.proto`` file, made from its descriptors with the environment's own protobuf.

Generated code runs with the protobuf it was generated for, and newer ones of the same major version; descriptors are read by all of them,
from 3.6's 3.19 on. So nothing is generated, and the environment needs ``protobuf`` alone, in any version.
"""

import importlib
import sys
from types import ModuleType

from lading_worker.loading import LoadError

_GOOGLE = "google/protobuf/"  # what protobuf brings itself


class Messages:
    """What one ``.proto`` file defines. ``module`` is its ``..._pb2`` module, ``service`` the descriptor of its service.

    Raises:
        LoadError: if the environment has no protobuf.
    """

    def __init__(self, descriptors, path, service):
        try:
            from google.protobuf import descriptor_pb2, descriptor_pool
        except ImportError as error:
            msg = f"predictor.protobuf_path needs protobuf, which the model's environment lacks ({error}). Add it to the dependencies."
            raise LoadError(msg, path) from None
        self._pool = descriptor_pool.Default()
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
        for file in files:  # each after those that it imports
            module = self._add(file)
        self.module = sys.modules.setdefault(_name(path.rpartition("/")[2]), module)
        self.service = self._pool.FindFileByName(files[-1].name).services_by_name[service.rpartition(".")[2]]

    def _add(self, file):
        name = _name(file.name)
        if file.name.startswith(_GOOGLE):
            return importlib.import_module(name)
        self._pool.AddSerializedFile(file.SerializeToString())
        descriptor = self._pool.FindFileByName(file.name)
        module = ModuleType(name, f"The messages of {file.name}.")
        module.DESCRIPTOR = descriptor
        _fill(module, descriptor)
        # The predictor may import it by the name that the generated one would have.
        return sys.modules.setdefault(name, module)

    def class_of(self, descriptor):
        """The class of a message."""
        from google.protobuf import message_factory

        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(descriptor)
        from google.protobuf import symbol_database

        return symbol_database.Default().GetPrototype(descriptor)


def _name(file):
    """The module's name that ``protoc`` would choose."""
    return file[: -len(".proto")].replace("-", "_").replace("/", ".") + "_pb2"


def _fill(module, descriptor):
    """Define what the file defines: by protobuf's own builder (3.20 and later), else as generated code did before."""
    try:
        from google.protobuf.internal import builder
    except ImportError:
        _fill_by_hand(module, descriptor)
        return
    builder.BuildMessageAndEnumDescriptors(descriptor, vars(module))
    builder.BuildTopDescriptorsAndMessages(descriptor, module.__name__, vars(module))


def _fill_by_hand(module, descriptor):
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    for name, enum in descriptor.enum_types_by_name.items():
        setattr(module, name, EnumTypeWrapper(enum))
        for value in enum.values:
            setattr(module, value.name, value.number)
    for name, extension in descriptor.extensions_by_name.items():
        setattr(module, name, extension)
    for name, message in descriptor.message_types_by_name.items():
        setattr(module, name, _message(message, module.__name__))


def _message(descriptor, module):
    from google.protobuf import message, reflection, symbol_database

    inside = {one.name: _message(one, module) for one in descriptor.nested_types}
    made = reflection.GeneratedProtocolMessageType(
        str(descriptor.name), (message.Message,), dict(inside, DESCRIPTOR=descriptor, __module__=module)
    )
    return symbol_database.Default().RegisterMessage(made)
