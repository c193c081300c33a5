"""What a result was made with: versions, settings, and fingerprints of the inputs."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pandas as pd

import analysis
from analysis.files import fingerprint

_SHOWN = (
    "numpy", "pandas", "scipy", "scikit-image", "scikit-learn", "tifffile", "lxml", "numba",
    "param", "panel", "panel-material-ui", "holoviews", "bokeh", "matplotlib",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Graticule, Python, the system and the packages results depend on."""
    found = {"graticule": analysis.__version__, "python": platform.python_version(), "system": platform.platform()}
    for name in _SHOWN:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe_inputs(paths: Iterable[Path]) -> pd.DataFrame:
    """Return one row a file: ``file``, ``size_bytes``, ``modified`` (UTC) and ``fingerprint``.

    A file that cannot be looked at has empty values and its reason under ``fingerprint``.
    """
    rows = []
    for path in dict.fromkeys(map(Path, paths)):
        try:
            found = path.stat()
            modified = pd.Timestamp(found.st_mtime_ns, unit="ns").strftime("%Y-%m-%d %H:%M:%S")
            rows.append((str(path), found.st_size, modified, fingerprint(path)))
        except OSError as error:
            rows.append((str(path), None, "", error.strerror or str(error)))
    return pd.DataFrame(rows, columns=["file", "size_bytes", "modified", "fingerprint"])
