"""Importing the predictor's file, and saying what went wrong in the user's own lines."""

import importlib
import os
import sys
import time

_HERE = os.path.dirname(os.path.abspath(__file__))
_SHIMS = os.path.join(_HERE, "shims")
_CALLERS = frozenset(
    os.path.join(_HERE, name + ".py")
    for name in ("__main__", "engine", "loading", "cog_style", "cortex_style", "cortex_jobs", "grpc_style", "payload", "looping")
)


_MOMENT = 2.0
"""Seconds; some file systems know no shorter times."""


class LoadError(Exception):
    """The predictor is not where it should be. There is no traceback worth showing."""

    def __init__(self, message, file=None, line=None):
        super().__init__(message)
        self.file, self.line = file, line


def prepare_path(root, python_path, file):
    """Order ``sys.path``: ``python_path``, the project's root, what a script in ``file``'s place would find, our shims, the environment.

    Cortex starts its server with ``PYTHONPATH=:<python_path>``, Cog with the root as working directory; the environment comes after
    the shims, so that a ``cog`` installed there does not bring its server.
    """
    ours = [os.path.join(root, python_path)] if python_path else []
    ours += [root, _top_folder(os.path.dirname(os.path.join(root, file))), _SHIMS]
    first = []
    for folder in map(os.path.normpath, ours):
        if folder not in first:
            first.append(folder)
    sys.path[:] = first + [folder for folder in sys.path if folder not in first]


def _top_folder(folder):
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def distrust_bytecode(root, watched):
    """Neither read nor write bytecode of sources below ``root`` that were edited a moment ago; of none of them if they are ``watched``.

    Python takes bytecode for that of a source with the same second and size, and whoever edits what is served may keep both.
    """
    from importlib.machinery import SourceFileLoader

    below, stats = os.path.join(root, ""), SourceFileLoader.path_stats

    def path_stats(self, path):
        found = stats(self, path)
        if os.path.abspath(path).startswith(below) and (watched or time.time() - found["mtime"] < _MOMENT):
            raise OSError("its bytecode is not used")  # which importlib takes for a source that cannot have any
        return found

    SourceFileLoader.path_stats = path_stats


def load(root, file, name):
    """Import ``file`` and return its class or function ``name``.

    The module gets the name under which the model's other files, and processes that unpickle its objects, import it: ``predict``
    for ``predict.py``, ``package.predict`` in a package.

    Raises:
        LoadError: if there is no such file, or nothing callable of that name in it.
        BaseException: whatever the import raises.
    """
    path = os.path.normpath(os.path.join(root, file))
    if not os.path.isfile(path):
        raise LoadError(f"{file} is not there", file)
    # Cog shows the model no arguments either: it may parse them as its own.
    sys.argv[:] = [path]
    module = _import(path)
    try:
        found = getattr(module, name)
    except AttributeError:
        own = [key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", None) == module.__name__]
        has = f"; it has {', '.join(own[:5])}" if own else ""
        raise LoadError(f"{file} has no class or function {name}{has}", file) from None
    if not callable(found):
        raise LoadError(f"{name} in {file} is no class or function but {type(found).__name__}", file)
    return found


def loaded_files():
    """The files of the modules that are loaded, but for Python's own, the environment's and ours: those that somebody edits."""
    ours = (os.path.join(_HERE, ""), os.path.join(os.path.dirname(os.path.abspath(os.__file__)), ""), os.path.join(sys.prefix, ""))
    found = set()
    for module in list(sys.modules.values()):
        try:
            file = module.__file__
        except Exception:  # noqa: S112 - a module may be any object
            continue
        if isinstance(file, str) and file.endswith(".py"):
            path = os.path.abspath(file)
            if not path.startswith(ours) and "site-packages" not in path and "dist-packages" not in path:
                found.add(path)
    return sorted(found)


def _import(path):
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    package, name = _module_name(path)
    if package:
        importlib.import_module(package)
        if name in sys.modules:
            return sys.modules[name]
    spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    # As after an import, a module may have replaced itself.
    module = sys.modules.get(name, module)
    if package:
        setattr(sys.modules[package], name.rpartition(".")[2], module)
    return module


def _module_name(path):
    """The package that a file belongs to (``""``: none), and its module's name."""
    folder, base = os.path.split(path)
    stem = os.path.splitext(base)[0]
    top = _top_folder(folder)
    if top != folder:
        parts = os.path.relpath(folder, top).split(os.sep)
        if all(part.isidentifier() for part in [*parts, stem]):
            return ".".join(parts), ".".join([*parts, stem])
    # A predictor in `signal.py` must not take the place of a module that is in use.
    return "", "predictor_" + stem if stem in sys.modules else stem.replace(".", "_")


def describe(error, root, phase):
    """SETUP_FAILED's head for an exception that ended ``phase`` (``import`` or ``setup``)."""
    file, line = place(error, root)
    head = {"phase": phase, "error": one_line(error), "kind": type(error).__name__, "file": file, "line": line, "exit_code": 1}
    head["traceback"] = None if isinstance(error, LoadError) else trace(error)
    if isinstance(error, LoadError):
        head["error"] = str(error)
    elif isinstance(error, SystemExit):
        head["exit_code"] = exit_code(error)
        head["error"] = f"the predictor called sys.exit({'' if error.code is None else repr(error.code)})"
    return head


def one_line(error):
    """An exception as Python's last line shows it: ``ValueError: no weights``."""
    name = type(error).__name__
    if type(error).__module__ not in ("builtins", "__main__"):
        name = f"{type(error).__module__}.{name}"
    text = message(error)
    if isinstance(error, SyntaxError):
        text = str(error.msg)
    return f"{name}: {text}" if text else name


def message(error):
    """``str(error)``, which is the model's own code and may fail itself."""
    try:
        return str(error)
    except Exception:
        return "<its text cannot be shown>"


def exit_code(error):
    """The exit code that a ``SystemExit`` stands for."""
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def place(error, root):
    """Where it happened: the innermost line in the project, as ``(file, line)``, the file relative to its root."""
    if isinstance(error, LoadError):
        return error.file, error.line
    if isinstance(error, SyntaxError) and error.filename and _inside(error.filename, root):
        return os.path.relpath(error.filename, root), error.lineno
    found = (None, None)
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if _inside(file, root):
            found = (os.path.relpath(file, root), step.tb_lineno)
        step = step.tb_next
    return found


def _inside(file, root):
    inside = os.path.isabs(file) and os.path.normpath(file).startswith(os.path.join(root, ""))
    # An environment may lie in the project's folder.
    return inside and "site-packages" not in file and not file.startswith(os.path.join(_HERE, ""))


def trace(error):
    """The traceback as text without the frames above the user's code: those are ours."""
    try:
        import traceback

        return "".join(traceback.format_exception(type(error), error, _own_part(error, error.__traceback__)))
    except Exception:  # an exception whose parts misbehave
        return one_line(error) + "\n"


def _own_part(error, step):
    """The part of a traceback below the last of our frames that call the model's code, and what it calls to get there."""
    rest = first = step
    while step is not None:
        if step.tb_frame.f_code.co_filename in _CALLERS:
            rest = step.tb_next
        step = step.tb_next
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(("<frozen importlib", importlib.__file__)):
        rest = rest.tb_next
    if rest is None and not isinstance(error, (SyntaxError, TypeError)):
        # It happened in our own code. (A call that does not fit the model's function is told by its message.)
        return first
    return rest
