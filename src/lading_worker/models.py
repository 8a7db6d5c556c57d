"""The models of a Cortex API: where they are, which versions there are, what is held in memory, and when it is loaded anew.

``path`` is one model, ``paths`` several by name, ``dir`` a folder with one folder for each. A model is a file, or a folder; a folder of
folders with whole numbers as names holds versions of it, the highest is the latest (Cortex 0.32). Places in the project and ``file://`` are
used where they lie; what is at ``s3://``, ``gs://`` or ``https://`` is fetched, by fsspec where the environment has it, into a folder that
the processes of all APIs share, and is fetched again when it changes there.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import OrderedDict

from lading_worker import places
from lading_worker.loading import trace

DEFAULT = "_cortex_default"
LATEST = "latest"
_RELOAD_SECONDS = 10.0


class ModelError(ValueError):
    """There is no such model, or none of that version."""


class _Held:
    """A model in memory. ``print`` is what its files looked like."""

    def __init__(self, model, folder, mark):
        self.model, self.folder, self.mark = model, folder, mark


class Models:
    """Finds and holds models. ``settings`` is the configuration's ``models``; ``load(path, name)`` makes a model of a file or folder."""

    def __init__(self, settings, root, load):
        self._settings, self._root, self._load = settings, root, load
        self._held = OrderedDict()
        self._fetched = OrderedDict()
        self._lock = threading.RLock()
        self._seconds = float(os.environ.get("LADING_MODEL_RELOAD_SECONDS") or _RELOAD_SECONDS)
        self._watching = False

    # What there is

    def names(self):
        """The names of all models."""
        if self._settings.get("path"):
            return [DEFAULT]
        if self._settings.get("paths"):
            return [one["name"] for one in self._settings["paths"]]
        return places.of(self._settings["dir"], self._root).folders()

    def versions(self, name):
        """The versions of a model as texts, the lowest first; ``["1"]`` for one that has none."""
        return self._versions(self._place(name)) or ["1"]

    def _place(self, name):
        if self._settings.get("path"):
            if name not in (None, DEFAULT):
                raise ModelError(f"the API has one model, so model_name must not be given (it is {name!r})")
            return places.of(self._settings["path"], self._root)
        names = self.names()
        if name is None:
            msg = "model_name must be given: the API has the models {}".format(", ".join(names))
            raise ModelError(msg)
        if name not in names:
            msg = "there is no model {!r}; the API has {}".format(name, ", ".join(names) or "none")
            raise ModelError(msg)
        for one in self._settings.get("paths") or ():
            if one["name"] == name:
                return places.of(one["path"], self._root)
        return places.of(self._settings["dir"], self._root).child(name)

    @staticmethod
    def _versions(place):
        return sorted((folder for folder in place.folders() if folder.isdigit()), key=int)

    def _version(self, place, name, version):
        version = str(version)
        if version != LATEST and not version.isdigit():
            raise ModelError(f'model_version must be a number or "latest", and it is {version!r}')
        there = self._versions(place)
        if not there:
            if version not in (LATEST, "1"):
                msg = "the model {} has no versions, so there is no version {}".format(name or "of the API", version)
                raise ModelError(msg)
            return "1", place
        chosen = there[-1] if version == LATEST else version
        if chosen not in there:
            msg = "the model {} has no version {}; it has {}".format(name or "of the API", version, ", ".join(there))
            raise ModelError(msg)
        return chosen, place.child(chosen)

    def signature_key(self, name):
        """The ``signature_key`` that the configuration gives a model."""
        for one in self._settings.get("paths") or ():
            if one["name"] == name and one.get("signature_key"):
                return one["signature_key"]
        return self._settings.get("signature_key")

    # What is held

    def get(self, name=None, version=LATEST):
        """The model, loaded when it is first asked for.

        Raises:
            ModelError: if there is none of that name or version.
            Exception: whatever fetching and loading raise.
        """
        with self._lock:
            held = self._held.get((name, str(version)))
            if held is None:
                held = self._hold(name, str(version))
            else:
                self._held.move_to_end((name, str(version)))
            self._watch()
            return held.model

    def load_all(self):
        """Load every model, as Cortex does at the start of an API without a cache."""
        if not self._settings.get("cache_size"):
            for name in self.names():
                self.get(None if name == DEFAULT else name)

    def _hold(self, name, version):
        _number, place = self._version(self._place(name), name, version)
        mark = place.mark()
        if not mark:
            raise ModelError(f"there is nothing at {place}")
        folder = place.local() or self._fetch(place, mark)
        held = _Held(self._load(folder, name), folder, mark)
        self._held[name, version] = held
        self._held.move_to_end((name, version))
        limit = self._settings.get("cache_size")
        while limit and len(self._held) > limit:
            self._held.popitem(last=False)
        return held

    def _fetch(self, place, mark):
        """The folder or file on this machine; made whole or not at all, so that processes can share it."""
        above = os.path.join(_folder(), hashlib.sha256(str(place).encode()).hexdigest()[:16])
        target = os.path.join(above, hashlib.sha256(repr(mark).encode()).hexdigest()[:16])
        if not os.path.isdir(target):
            os.makedirs(above, exist_ok=True)
            aside = tempfile.mkdtemp(dir=above)
            try:
                place.fetch(os.path.join(aside, os.path.basename(str(place).rstrip("/")) or "model"))
                os.rename(aside, target)
            except OSError:
                if not os.path.isdir(target):  # else another process was faster
                    raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        self._fetched[target] = True
        self._fetched.move_to_end(target)
        limit = self._settings.get("disk_cache_size")
        while limit and len(self._fetched) > limit:
            shutil.rmtree(self._fetched.popitem(last=False)[0], ignore_errors=True)
        return os.path.join(target, os.listdir(target)[0])

    # Live reloading

    def _watch(self):
        if not self._watching and self._seconds > 0:
            self._watching = True
            threading.Thread(target=self._look_again, name="lading-models", daemon=True).start()

    def _look_again(self):
        while True:
            time.sleep(self._seconds)
            for name, version in list(self._held):
                try:
                    self._refresh(name, version)
                except Exception as error:  # the place is out of reach, or what is there now is no model: the old one serves on
                    sys.stderr.write("the model {} stays as it is: {}".format(name or "of the API", trace(error)))

    def _refresh(self, name, version):
        _number, place = self._version(self._place(name), name, version)
        before = self._held.get((name, version))
        mark = place.mark()
        if before is None or not mark or mark == before.mark:
            return
        folder = place.local() or self._fetch(place, mark)
        held = _Held(self._load(folder, name), folder, mark)
        with self._lock:
            if (name, version) in self._held:
                self._held[name, version] = held


def _folder():
    """Where fetched models lie: ``LADING_MODELS``, else a folder of this user among the temporary ones."""
    folder = os.environ.get("LADING_MODELS")
    if not folder:
        folder = os.path.join(tempfile.gettempdir(), f"lading-models-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.getuid():
        raise ModelError(f"{folder} belongs to another user")
    return folder
