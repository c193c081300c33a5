"""Classes given by hand on the texture page: a click each, taken back, and learnt by the forest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import param

from analysis.texture import COLOURS, Correction, correct_labels, find_similar
from dashboards.support.jobs import start
from dashboards.support.loading import in_thread
from dashboards.support.texture_settings import TextureSettings
from dashboards.support.texture_work import Latest, key_of_patch, rows_of_labels

_MOST_UNDONE = 200


class TextureLabels(TextureSettings):
    """Labels, and what is learnt from them."""

    labels = param.Dict(default={}, doc="Class by (file, row, column) of a patch.")
    class_name = param.String(default="class 1", doc="Class that the next click gives.")
    labelling = param.Boolean(default=False, label="Clicks label patches")
    correction = param.ClassSelector(class_=Correction, default=None, doc="Classes of all patches.")
    similar = param.DataFrame(default=None, doc="Patches like the one asked for last.")
    undoable = param.Integer(default=0, doc="How many steps can be taken back.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._undone: list[dict[tuple[str, int, int], str]] = []
        self._refused = ""
        self._correcting, self._learns = Latest(), False
        self.param.watch(self._classes_changed, ["classes"])
        self._classes_changed()

    @property
    def labelled_rows(self) -> dict[int, str]:
        """Class by row of the table of patches, of those labelled by hand."""
        return rows_of_labels(self.patches, self.labels) if self.patches is not None else {}

    @property
    def class_numbers(self) -> dict[str, int]:
        """Number of each class from 1, which gives its colour.

        As the forest numbers them, and so report and files: those that patches have, by name. The others follow.
        """
        given = {*self.labels.values()}
        names = self.correction.classes if self.correction is not None else sorted(given)
        names = [*names, *sorted({*self.classes, *given} - {*names})]
        return {name: number for number, name in enumerate(names, start=1)}

    @property
    def class_colours(self) -> dict[str, str]:
        """Colour of each class."""
        return {name: COLOURS[(number - 1) % len(COLOURS)] for name, number in self.class_numbers.items()}

    @property
    def _teachable(self) -> bool:
        """Whether there are labels of two classes, as the forest needs."""
        return len(set(self.labels.values())) > 1

    def _classes_changed(self, *_: Any) -> None:
        if self.classes and self.class_name not in self.classes:
            self.class_name = self.classes[0]

    # ---- giving and taking ----------------------------------------------------------------------------

    def label(self, rows: Iterable[int], name: str = "") -> None:
        """Give patches a class.

        Parameters
        ----------
        rows
            Of the table of patches; those that are left out get none.
        name
            Of the class; the one chosen when empty.
        """
        name = (name or self.class_name).strip()
        rows = [int(row) for row in rows]
        if self.patches is None or not rows:
            return
        if not name:
            self._refuse("A class must have a name; type one under Labels first.")
            return
        out = self.patches.table["left_out"].to_numpy()
        kept = [row for row in rows if not out[row]]
        if not kept:
            why = self.patches.table["why"].iloc[rows[0]]
            self._refuse(f"A patch that is left out ({why}) gets no class. Choose other rules under Patches left out.")
            return
        self._change({**self.labels, **{key_of_patch(self.patches, row): name for row in kept}})
        if name not in self.classes:
            self.classes = [*self.classes, name]

    def unlabel(self, rows: Iterable[int]) -> None:
        """Take the class of patches away.

        Parameters
        ----------
        rows
            Of the table of patches.
        """
        if self.patches is None:
            return
        gone = set()
        for row in rows:
            file, *place = key_of_patch(self.patches, int(row))
            gone |= {(file, *place), (Path(file).name, *place)}
        self._change({key: name for key, name in self.labels.items() if key not in gone})

    def toggle_label(self, row: int) -> None:
        """Give a patch the class chosen, or take it away when it has it."""
        if self.labelled_rows.get(row) == self.class_name:
            self.unlabel([row])
        else:
            self.label([row])

    def undo(self) -> None:
        """Take the last step back; a class that was renamed or removed comes back with its labels."""
        if self._undone:
            before = self._undone.pop()
            classes = list(dict.fromkeys([*self.classes, *before.values()]))
            self.param.update(labels=before, undoable=len(self._undone), classes=classes)
            self._learn_again()

    def forget_labels(self) -> None:
        """Take all classes away."""
        self._change({})

    def rename_class(self, old: str, new: str) -> None:
        """Give a class another name, also where it was given already.

        Parameters
        ----------
        old, new
            Names.
        """
        new = new.strip()
        if not new or old == new:
            return
        chosen = self.class_name == old
        self._change({key: new if name == old else name for key, name in self.labels.items()})
        self.classes = list(dict.fromkeys(new if name == old else name for name in self.classes))
        if chosen:
            self.class_name = new

    def _refuse(self, sentence: str) -> None:
        """Say what cannot be, until the next step that can."""
        self.job.error = self._refused = sentence

    def _change(self, labels: dict[tuple[str, int, int], str]) -> None:
        if self._refused and self.job.error == self._refused:
            self.job.error = self._refused = ""
        if labels == self.labels:
            return
        self._undone = [*self._undone[1 - _MOST_UNDONE :], self.labels]
        self.param.update(labels=labels, undoable=len(self._undone))
        self._learn_again()

    # ---- learning -------------------------------------------------------------------------------------

    def _learn_again(self) -> None:
        """Bring classes of all patches up to date, once they were asked for."""
        if not self._learns:
            return
        if not self._teachable:
            self.correction = None
            self.shown = "clusters" if self.shown in ("classes", "sureness") else self.shown
        else:
            start(self.correct)

    async def correct(self) -> None:
        """Give every patch a class, learnt from those that have one by hand; of several requests the last one wins."""

        async def once() -> None:
            patches, labels = self.patches, self.labels
            if patches is None or (self._learns and not self._teachable):
                return
            self._learns = True
            try:
                found = await in_thread(correct_labels, patches, labels, seed=self.seed)
            except ValueError as error:
                self._learns = self.correction is not None
                self._refuse(str(error))
                return
            # what was learnt of labels or patches that changed while the forest grew is not shown
            if labels is not self.labels or patches is not self.patches:
                self._learn_again()
            else:
                first = self.correction is None
                self.correction = found
                if first and self.shown not in ("classes", "sureness"):
                    self.shown = "classes"

        await self._correcting.run(once)

    async def find_similar(self, row: int, *, count: int = 20) -> pd.DataFrame | None:
        """Return the patches most like one, and keep them in ``similar``.

        Parameters
        ----------
        row
            Of the table of patches.
        count
            How many.
        """
        if self.patches is None:
            return None
        try:
            self.similar = await in_thread(find_similar, self.patches, row, count=count, scale=self.scale)
        except ValueError as error:
            self._refuse(str(error))
            self.similar = None
        return self.similar
