"""Classes given by hand to a few patches, and a random forest that gives them to the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from analysis.texture._clusters import Clusters
from analysis.texture._features import make_features
from analysis.texture._labels import Labels, find_patches, name_patch
from analysis.texture._methods import one_thread
from analysis.texture._patches import Patches

_MOST_CLASSES = 255


@dataclass(frozen=True)
class Correction:
    """Patches and the class of each.

    Attributes
    ----------
    patches
        What was classified.
    classes
        Names, sorted.
    numbers
        (patches,) int64, in the order of their table: class from 1, or -1 for patches that were left out or lack a
        number.
    sureness
        (patches,) share of the forest's trees, weighted by what they say, that are for the class, 0 to 1; 1 where it
        was given by hand and NaN where there is none.
    labelled
        (patches,) whether the class was given by hand.
    importance
        One row a statistic, the most useful first: ``statistic, importance`` (of the forest, adding up to 1).
    warnings
        Sentences.
    settings
        The keyword arguments used.
    """

    patches: Patches
    classes: tuple[str, ...]
    numbers: np.ndarray
    sureness: np.ndarray
    labelled: np.ndarray
    importance: pd.DataFrame
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of patches, and their ``class`` (empty for none), ``sureness`` and ``labelled``."""
        words = np.array(["", *self.classes], dtype=object)[np.maximum(self.numbers, 0)]
        added = {"class": words, "sureness": self.sureness, "labelled": self.labelled}
        return self.patches.table.assign(**added)

    @property
    def names(self) -> dict[int, str]:
        """Name of each class by its number."""
        return dict(enumerate(self.classes, start=1))

    def summary(self) -> dict[str, Any]:
        """Return patches and labels of each class, how sure the forest is, and warnings."""
        given = self.numbers[self.labelled]
        guessed = self.sureness[(self.numbers > 0) & ~self.labelled]
        return {
            "patches": {name: int((self.numbers == number).sum()) for number, name in self.names.items()},
            "labelled": {name: int((given == number).sum()) for number, name in self.names.items()},
            "in_no_class": int((self.numbers < 0).sum()),
            "median_sureness": float(np.median(guessed)) if len(guessed) else None,
            "unsure": int((guessed < 0.6).sum()),
            "warnings": list(self.warnings),
        }


def correct_labels(
    patches: Patches | Clusters,
    labels: Labels,
    *,
    statistics: Sequence[str] | None = None,
    trees: int = 200,
    seed: int = 0,
) -> Correction:
    """Give every patch a class, learnt by a random forest from the patches that have one by hand.

    Parameters
    ----------
    patches
        As `measure_patches` or `cluster_patches` returns them.
    labels
        Class by (file, row, column) of a patch; the file by its path, or by its name where no two tiles share it.
    statistics
        Which of those measured count; all when None.
    trees
        In the forest; more are slower and a little surer.
    seed
        Of the forest.

    Returns
    -------
    Correction
        Patches labelled by hand keep their class. The same for any order of labels and files.

    Raises
    ------
    ValueError
        When there are fewer than two classes, or a label belongs to no patch or to one that is left out.

    References
    ----------
    L. Breiman, Mach. Learn. 45, 5 (2001), https://doi.org/10.1023/A:1010933404324
    """
    if isinstance(patches, Clusters):
        statistics = patches.settings.get("statistics") if statistics is None else statistics
        patches = patches.patches
    if isinstance(trees, bool) or not isinstance(trees, int) or trees < 1:
        raise ValueError(f"trees must be a whole number from 1; got {trees!r}.")
    given = find_patches(patches, labels)
    features = make_features(patches, statistics=statistics)
    usable = np.zeros(len(patches.table), bool)
    usable[features.rows] = True
    for row in given:
        if not usable[row]:
            why = patches.table["why"].iloc[row] or "it lacks a number"
            raise ValueError(f"labels must be of patches that count; {name_patch(patches, row)} is left out ({why}).")
    classes = tuple(sorted(set(given.values())))
    if not 2 <= len(classes) <= _MOST_CLASSES:
        said = ", ".join(classes[:5]) or "none"
        raise ValueError(
            f"labels must name 2 to {_MOST_CLASSES} classes; got {len(classes)} ({said}). Label more patches."
        )
    numbers = np.full(len(usable), -1, np.int64)
    numbers[list(given)] = [classes.index(name) + 1 for name in given.values()]
    labelled = numbers > 0
    known = labelled[features.rows]
    # seldom labelled classes count as much as others
    forest = RandomForestClassifier(trees, class_weight="balanced", random_state=seed, n_jobs=1)
    with one_thread():
        forest.fit(features.values[known], numbers[features.rows][known])
        shares = forest.predict_proba(features.values)
    guessed = forest.classes_[shares.argmax(axis=1)]
    sureness = np.full(len(usable), np.nan)
    sureness[features.rows] = np.where(known, 1.0, shares.max(axis=1))
    numbers[features.rows] = np.where(known, numbers[features.rows], guessed)
    told = pd.DataFrame({"statistic": features.names, "importance": forest.feature_importances_})
    few = [name for name in classes if list(given.values()).count(name) < 3]
    said = [f"{', '.join(few)}: fewer than 3 patches are labelled, so the forest knows little of it."] if few else []
    return Correction(
        patches, classes, numbers, sureness, labelled,
        told.sort_values("importance", ascending=False, kind="stable", ignore_index=True),
        (*features.warnings, *said),
        {"statistics": None if statistics is None else list(statistics), "trees": trees, "seed": seed},
    )  # fmt: skip
