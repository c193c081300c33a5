"""Statistics kept on disk, so that no tile is read twice for the same number."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analysis.files import sweep, whole_file

_METHOD = "2"  # part of every key: a change of a formula makes old numbers unknown
_log = logging.getLogger(__name__)


def key_of(*words: object) -> str:
    """Return a name for what these words describe.

    Parameters
    ----------
    *words
        Anything that JSON can write.
    """
    return hashlib.sha256(json.dumps([_METHOD, *words]).encode()).hexdigest()[:32]


class Store:
    """A folder of files that are written whole: one for each tile in one state, with one grid and one shading.

    Parameters
    ----------
    folder
        Made when it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder, self._told = Path(folder), False
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)

    def read(self, key: str) -> dict[str, np.ndarray]:
        """Return what is kept under a key; nothing when there is none, or it cannot be read."""
        path = self._path(key)
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except FileNotFoundError:
            return {}
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged file
            _log.warning("%s cannot be read (%s): its statistics are measured again.", path, error)
            return {}

    def write(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays under a key, in place of what was there; what cannot be written is not kept."""
        # it can be measured again, so nobody waits for the disk, and a full one stops nobody
        try:
            with whole_file(self._path(key), durable=False) as handle:
                np.savez(handle, **arrays)
        except OSError as error:
            if not self._told:
                _log.warning("%s: %s; what is not kept will be measured again.", self.folder, error.strerror)
            self._told = True

    def _path(self, key: str) -> Path:
        return self.folder / f"texture-{key}.npz"
