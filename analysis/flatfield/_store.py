"""Comparisons kept on disk: finished pairs in files that never change, and the table that others read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.files import NAMELESS_TABLE_S, fingerprint, locked, sweep, whole_file
from analysis.flatfield._slides import Slide
from analysis.tables import read_table, write_table

TABLE_NAME = "meanimagecomparison_table.csv"
TABLE_COLUMNS = ("root_dir_1", "slide_ID_1", "root_dir_2", "slide_ID_2", "layer_n", "delta_over_sigma_std_dev")
_MOST_SHARDS = 32
_METHOD = "1"  # part of every key: a change of the statistic makes old results unknown
_log = logging.getLogger(__name__)

SlideKey = tuple[str, str, str]
"""Root, slide ID and the fingerprint of the mean-image files."""


def key_of(slide: Slide) -> SlideKey:
    """Return what a slide's results are kept under: its name and the state of its files."""
    files = (slide.mean_image, slide.standard_error, slide.mask_stack)
    state = "|".join([slide.meanimage_dir.name, _METHOD, *map(fingerprint, files)])
    return (*slide.key, state)


@dataclass(frozen=True)
class Pairs:
    """Results of some pairs of slides.

    Attributes
    ----------
    keys
        The slides.
    first, second
        (pairs,) indices into ``keys``.
    values
        (pairs, layers) statistic.
    left_out
        (pairs, layers) pixels that did not count; -1 where unknown.
    """

    keys: tuple[SlideKey, ...]
    first: np.ndarray
    second: np.ndarray
    values: np.ndarray
    left_out: np.ndarray


class Store:
    """The working folder of a comparison.

    Shards (``pairs-*.npz``) are written whole and never changed; many small ones are merged. A shard that
    cannot be read is reported and set aside, and its pairs are computed again.

    Parameters
    ----------
    working_dir
        The folder.
    look_only
        Make and sweep nothing, as who may only read needs it.
    """

    def __init__(self, working_dir: Path, *, look_only: bool = False):
        self.table_path = working_dir / TABLE_NAME
        self.folder = working_dir / "meanimagecomparison_store"
        self.run_lock = self.folder / "run"
        if not look_only:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder)
            sweep(working_dir)

    # ---- finished pairs -------------------------------------------------------------------------------

    def read(self) -> list[Pairs]:
        """Return the shards, oldest first."""
        for _ in range(10):
            # another run may merge shards while they are listed and read
            with contextlib.suppress(FileNotFoundError):
                paths = sorted(self.folder.glob("pairs-*.npz"), key=lambda p: (p.stat().st_mtime_ns, p.name))
                return [shard for path in paths if (shard := self._read_or_set_aside(path)) is not None]
        raise OSError(f"{self.folder} must stay as it is while it is read; files keep vanishing from it.")

    def _read_or_set_aside(self, path: Path) -> Pairs | None:
        try:
            return _read_pairs(path)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError) as error:
            _log.warning("%s cannot be read (%s): its pairs are computed again.", path, error)
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".damaged"))
        return None

    def add(self, pairs: Pairs) -> None:
        """Write finished pairs as a new shard; call it while holding the run lock."""
        _write_pairs(self._new_shard(), pairs)
        paths = list(self.folder.glob("pairs-*.npz"))
        if len(paths) > _MOST_SHARDS:
            for merged in merge_pairs(self.read()):
                _write_pairs(self._new_shard(), merged)
            for path in paths:
                path.unlink(missing_ok=True)

    def _new_shard(self) -> Path:
        return self.folder / f"pairs-{secrets.token_hex(8)}.npz"

    def known_slides(self) -> set[tuple[str, str]]:
        """Return (root, slide ID) of every slide in the shards or in the table."""
        names = {key[:2] for shard in self.read() for key in shard.keys}
        if self.table_path.exists() and self._exported()["table"] != fingerprint(self.table_path):
            table = read_table(self.table_path, columns=TABLE_COLUMNS, keep_unfinished=False)
            for end in (1, 2):
                rows = table[[f"root_dir_{end}", f"slide_ID_{end}"]].drop_duplicates()
                names |= {(_resolved(root), slide_id) for root, slide_id in rows.itertuples(index=False)}
        return names

    # ---- what is known of one slide -------------------------------------------------------------------

    def read_survey(self, key: SlideKey) -> dict | None:
        """Return what `write_survey` kept for a slide in this state, or None."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(self._survey_path(key).read_text(encoding="utf-8"))
            return found["survey"] if found["key"] == list(key) else None
        return None

    def write_survey(self, key: SlideKey, survey: dict) -> None:
        """Keep the survey of a slide; replaces that of an older state of its files."""
        with whole_file(self._survey_path(key), "w", encoding="utf-8") as handle:
            json.dump({"key": key, "survey": survey}, handle)

    def _survey_path(self, key: SlideKey) -> Path:
        folder = key[2].partition("|")[0]
        return self.folder / f"slide-{_digest([*key[:2], folder])}.json"

    # ---- work in progress -----------------------------------------------------------------------------

    def partial_path(self, description: object) -> Path:
        """Return where the running sums of this very computation are kept."""
        return self.folder / f"partial-{_digest(description)}.npz"

    def drop_partials(self) -> None:
        """Remove running sums of computations that are finished or no longer asked for."""
        for path in self.folder.glob("partial-*.npz"):
            path.unlink(missing_ok=True)

    # ---- the table that others read -------------------------------------------------------------------

    def import_table(self, current: Iterable[Slide] = ()) -> None:
        """Take over pairs that the table has and the shards have not; call it while holding the run lock.

        A pair counts as made from a slide's present files when these are not newer than the table and it has a
        number in every layer.

        Parameters
        ----------
        current
            Slides found on disk.
        """
        if not self.table_path.exists() or self._exported()["table"] == fingerprint(self.table_path):
            return
        table = read_table(
            self.table_path,
            columns=TABLE_COLUMNS,
            integers=("layer_n",),
            numbers=("delta_over_sigma_std_dev",),
            keep_unfinished=False,
        )
        if table.attrs["torn_line"]:
            _log.warning("%s line %d is cut and was left out.", self.table_path, table.attrs["torn_line"])
        known = {frozenset((k1[:2], k2[:2])) for s in self.read() for k1, k2 in _key_pairs(s)}
        for pairs in _pairs_of_table(table, known, self._states(current)):
            self.add(pairs)

    def _states(self, slides: Iterable[Slide]) -> dict[tuple[str, str], str]:
        written_ns = self.table_path.stat().st_mtime_ns
        states = {}
        for slide in slides:
            with contextlib.suppress(OSError):
                newest_ns = max(p.stat().st_mtime_ns for p in (slide.mean_image, slide.standard_error))
                if newest_ns <= written_ns:
                    states[slide.key] = key_of(slide)[2]
        return states

    def export_table(self, shards: Sequence[Pairs], current: Iterable[SlideKey]) -> None:
        """Write every pair as the table that others read, unless it is there already.

        Of a slide whose files were in several states, the present one counts, then the last one.

        Parameters
        ----------
        shards
            Oldest first.
        current
            The slides as they are now.
        """
        chosen = _chosen_states(shards, current)
        if self._table_is_current(chosen):
            return
        tables = [table_of(pairs) for pairs in latest_pairs(shards, set(current))]
        with locked(self.table_path, nameless_s=NAMELESS_TABLE_S):
            table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else (tables or [table_of(None)])[0]
            write_table(table, self.table_path, missing="nan")
        with whole_file(self.folder / "exported.json", "w", encoding="utf-8") as handle:
            json.dump({"table": fingerprint(self.table_path), "chosen": chosen}, handle)

    def _table_is_current(self, chosen: str) -> bool:
        """Tell whether the table is the one written last, for these states, and no shard came after it."""
        exported = self._exported()
        if not self.table_path.exists() or exported != {"table": fingerprint(self.table_path), "chosen": chosen}:
            return False
        written = (self.folder / "exported.json").stat().st_mtime_ns
        return all(path.stat().st_mtime_ns <= written for path in self.folder.glob("pairs-*.npz"))

    def _exported(self) -> dict[str, str | None]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.folder / "exported.json").read_text(encoding="utf-8"))
            if isinstance(found, dict) and "table" in found:
                return found
        return {"table": None}


def _digest(description: object) -> str:
    return hashlib.blake2b(json.dumps(description).encode(), digest_size=12).hexdigest()


def _write_pairs(path: Path, pairs: Pairs) -> None:
    with whole_file(path) as handle:
        np.savez(
            handle,
            keys=np.array(pairs.keys, dtype=np.str_).reshape(-1, 3),
            first=pairs.first.astype(np.int32),
            second=pairs.second.astype(np.int32),
            values=pairs.values,
            left_out=pairs.left_out.astype(np.int32),
        )


def _read_pairs(path: Path) -> Pairs:
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as found:
            keys = tuple((str(a), str(b), str(c)) for a, b, c in found["keys"])
            return Pairs(keys, found["first"], found["second"], found["values"], found["left_out"])
    except Exception as error:  # a cut archive raises zipfile's, zlib's or NumPy's own
        if isinstance(error, (OSError, ValueError, KeyError)):
            raise
        raise ValueError(f"{path} must be an archive written by this program; {error}.") from error


def _key_pairs(pairs: Pairs) -> Iterable[tuple[SlideKey, SlideKey]]:
    return ((pairs.keys[i], pairs.keys[j]) for i, j in zip(pairs.first, pairs.second, strict=True))


def merge_pairs(shards: Sequence[Pairs]) -> list[Pairs]:
    """Return shards joined into one for each number of layers, older rows first."""
    by_layers: dict[int, list[Pairs]] = {}
    for shard in shards:
        by_layers.setdefault(shard.values.shape[1], []).append(shard)
    return [_join(alike) for alike in by_layers.values()]


def _join(shards: Sequence[Pairs]) -> Pairs:
    keys = tuple(dict.fromkeys(key for shard in shards for key in shard.keys))
    place = {key: index for index, key in enumerate(keys)}
    parts = []
    for shard in shards:
        index = np.array([place[key] for key in shard.keys], dtype=np.int32)
        parts.append((index[shard.first], index[shard.second], shard.values, shard.left_out))
    return Pairs(keys, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _chosen_states(shards: Sequence[Pairs], current: Iterable[SlideKey]) -> str:
    """A digest of the present states of slides that results of several states are kept of."""
    states: dict[tuple[str, str], set[str]] = {}
    for shard in shards:
        for key in shard.keys:
            states.setdefault(key[:2], set()).add(key[2])
    return _digest(sorted(key for key in current if len(states.get(key[:2], ())) > 1))


def latest_pairs(shards: Sequence[Pairs], current: set[SlideKey]) -> list[Pairs]:
    """Return one row for each pair of slides: of their present states, or else the last one written.

    Parameters
    ----------
    shards
        Oldest first.
    current
        The slides as they are now.

    Returns
    -------
    list of Pairs
        One for each number of layers; the states are left out of the keys.
    """
    latest, taken = [], set()
    merged = merge_pairs(shards)
    # groups with present states come first, so that a pair is not taken from a group of older ones
    for pairs in sorted(merged, key=lambda group: not current.intersection(group.keys)):
        names = list(dict.fromkeys(key[:2] for key in pairs.keys))
        place = {name: index for index, name in enumerate(names)}
        index = np.array([place[key[:2]] for key in pairs.keys], dtype=np.int64)
        present = np.array([key in current for key in pairs.keys], dtype=bool)
        order = np.argsort(present[pairs.first] & present[pairs.second], kind="stable")
        a, b = index[pairs.first][order], index[pairs.second][order]
        code = np.minimum(a, b) * len(names) + np.maximum(a, b)
        # np.unique gives the first of equals, so look from the end
        _, last = np.unique(code[::-1], return_index=True)
        rows = np.sort(len(code) - 1 - last)
        if len(merged) > 1:
            ends = [frozenset((names[a[row]], names[b[row]])) for row in rows]
            rows = rows[[end not in taken for end in ends]]
            taken.update(ends)
        keys = tuple((*name, "") for name in names)
        values, left_out = pairs.values[order][rows], pairs.left_out[order][rows]
        latest.append(Pairs(keys, a[rows], b[rows], values, left_out))
    return latest


def fill_known(
    shards: Sequence[Pairs], keys: Sequence[SlideKey], values: np.ndarray, left_out: np.ndarray
) -> np.ndarray:
    """Write what the shards know into square arrays and return which pairs are known.

    Parameters
    ----------
    shards
        Oldest first.
    keys
        The slides as they are now.
    values, left_out
        (slides, slides, layers), changed in place on both sides of the diagonal.

    Returns
    -------
    ndarray of bool
        (slides, slides).
    """
    known = np.zeros((len(keys), len(keys)), dtype=bool)
    place = {key: index for index, key in enumerate(keys)}
    layers = values.shape[2]
    for shard in shards:
        if shard.values.shape[1] != layers:
            continue
        index = np.array([place.get(key, -1) for key in shard.keys], dtype=np.int64)
        a, b = index[shard.first], index[shard.second]
        rows = (a >= 0) & (b >= 0)
        a, b = a[rows], b[rows]
        for i, j in ((a, b), (b, a)):
            values[i, j], left_out[i, j], known[i, j] = shard.values[rows], shard.left_out[rows], True
    return known


def table_of(pairs: Pairs | None) -> pd.DataFrame:
    """Return pairs as the table that others read: a row for each layer of each pair."""
    if pairs is None or not len(pairs.first):
        return pd.DataFrame({name: [] for name in TABLE_COLUMNS})
    count, layers = pairs.values.shape
    roots = pd.Categorical.from_codes(*_codes([key[0] for key in pairs.keys]))
    names = pd.Categorical.from_codes(*_codes([key[1] for key in pairs.keys]))
    first, second = np.repeat(pairs.first, layers), np.repeat(pairs.second, layers)
    return pd.DataFrame(
        {
            "root_dir_1": roots[first],
            "slide_ID_1": names[first],
            "root_dir_2": roots[second],
            "slide_ID_2": names[second],
            "layer_n": np.tile(np.arange(1, layers + 1), count),
            "delta_over_sigma_std_dev": pairs.values.ravel(),
        }
    )


def _codes(texts: list[str]) -> tuple[list[int], list[str]]:
    unique = list(dict.fromkeys(texts))
    place = {text: index for index, text in enumerate(unique)}
    return [place[text] for text in texts], unique


def _pairs_of_table(table: pd.DataFrame, known: set[frozenset], states: dict[tuple[str, str], str]) -> list[Pairs]:
    """Return the table's pairs that are not known yet: those with all numbers, and those without, by layers."""
    resolved = {text: _resolved(text) for text in {*table["root_dir_1"], *table["root_dir_2"]}}
    ends = [list(zip(table[f"root_dir_{n}"].map(resolved), table[f"slide_ID_{n}"], strict=True)) for n in (1, 2)]
    names = list(dict.fromkeys([*ends[0], *ends[1]]))
    place = {name: index for index, name in enumerate(names)}
    a = np.array([place[name] for name in ends[0]], dtype=np.int64)
    b = np.array([place[name] for name in ends[1]], dtype=np.int64)
    layer = table["layer_n"].to_numpy()
    keep = (a != b) & (layer >= 1) & (layer <= 10_000)
    a, b, layer = a[keep], b[keep], layer[keep]
    code = np.minimum(a, b) * len(names) + np.maximum(a, b)
    unique, row = np.unique(code, return_inverse=True)
    first, second = unique // len(names), unique % len(names)
    fresh = np.array(
        [frozenset((names[i], names[j])) not in known for i, j in zip(first, second, strict=True)], dtype=bool
    )
    values = np.full((len(unique), int(layer.max(initial=0))), np.nan)
    values[row, layer - 1] = table["delta_over_sigma_std_dev"].to_numpy()[keep]
    layers = np.zeros(len(unique), dtype=np.int64)
    np.maximum.at(layers, row, layer)
    complete = np.isfinite(values).sum(axis=1) == layers
    found = []
    for count in np.unique(layers[fresh]):
        for whole in (True, False):
            rows = fresh & (layers == count) & (complete == whole)
            # what lacks a number keeps its place in the table and is computed again where its files are there
            keys = tuple((*name, states.get(name, "imported") if whole else "imported") for name in names)
            if rows.any():
                left_out = np.full((int(rows.sum()), count), -1)
                found.append(Pairs(keys, first[rows], second[rows], values[rows, :count], left_out))
    return found


def _resolved(root: str) -> str:
    path = Path(root).expanduser()
    return str(path.resolve()) if path.is_dir() else root
