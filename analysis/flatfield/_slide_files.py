"""The files of a slide: its mean image with tables and XML, and its line in ``sampledef.csv``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd

from analysis.files import whole_file
from analysis.flatfield._model import FIELD_COLUMNS, METADATA_COLUMNS
from analysis.flatfield._slides import SAMPLEDEF_COLUMNS
from analysis.images import write_raw
from analysis.tables import read_table, update_table, write_table

_DEFINITION_INTEGERS = ("SampleID", "Project", "Cohort", "BatchID")


def check_definition(root: Path, slide_id: str, numbers: tuple[int, int, int], replace: bool) -> None:
    """Refuse to give a listed slide other numbers, before anything is written."""
    path = root / "sampledef.csv"
    if replace or not path.exists():
        return
    table = read_table(path, columns=("SlideID", *_DEFINITION_INTEGERS), integers=_DEFINITION_INTEGERS)
    for row in table[table["SlideID"] == slide_id].to_dict("records"):
        listed = row["Project"], row["Cohort"], row["BatchID"]
        if listed != numbers:
            raise ValueError(
                f"project, cohort and batch must be {listed} as {path} has them for {slide_id}; got {numbers}. "
                "Set replace=True to change them."
            )


def define_slide(root: Path, slide_id: str, numbers: tuple[int, int, int]) -> None:
    """Give the slide its line in ``sampledef.csv``; others may be writing theirs at the same time."""

    def change(table: pd.DataFrame | None) -> pd.DataFrame:
        if table is None:
            table = pd.DataFrame(columns=list(SAMPLEDEF_COLUMNS))
        listed = table["SlideID"] == slide_id
        if listed.any():
            table.loc[listed, ["Project", "Cohort", "BatchID"]] = numbers
            return table
        number = int(table["SampleID"].max()) + 1 if len(table) else 1
        project, cohort, batch = numbers
        values = {
            "SampleID": number, "SlideID": slide_id, "Project": project, "Cohort": cohort, "Scan": 1,
            "BatchID": batch, "isGood": 1,
        }  # fmt: skip
        added = pd.DataFrame([{name: values.get(name, "") for name in table.columns}], dtype=object)
        return pd.concat([table, added], ignore_index=True) if len(table) else added

    columns = ("SlideID", *_DEFINITION_INTEGERS)
    update_table(root / "sampledef.csv", change, columns=columns, integers=_DEFINITION_INTEGERS)


def write_mean_image(
    root: str | os.PathLike[str],
    slide_id: str,
    mean: np.ndarray,
    standard_error: np.ndarray,
    sum_images_squared: np.ndarray,
    mask_stack: np.ndarray,
    *,
    filters: Sequence[tuple[str, float]],
    files: Sequence[str],
    dates: tuple[str, str],
    meanimage_folder: str = "meanimage",
    project: int = 1,
    cohort: int = 1,
    microscope_name: str = "unknown",
) -> Path:
    """Write the mean-image files of one slide, without its line in ``sampledef.csv``.

    Parameters
    ----------
    root, slide_id
        The slide's place and name.
    mean, standard_error, sum_images_squared, mask_stack
        (rows, columns, layers).
    filters
        Excitation filter and emission wavelength in nm of every layer.
    files
        Names of the fields stacked.
    dates
        Of the first and the last field, ``YYYY-MM-DD hh:mm:ss``.
    meanimage_folder
        Name of the folder below ``im3``.
    project, cohort, microscope_name
        Written into the metadata.

    Returns
    -------
    Path
        The folder of the mean image.
    """
    folder = Path(root) / slide_id / "im3"
    target = folder / meanimage_folder
    (folder / "Scan1").mkdir(parents=True, exist_ok=True)
    write_slide_xml(folder / "xml", slide_id, mean.shape, filters)
    layers = list(range(1, mean.shape[2] + 1))
    rows = [(slide_id, name, "bulk", "stacking", str(layers)) for name in files]
    write_table(pd.DataFrame(rows, columns=list(FIELD_COLUMNS)), target / "fields_used.csv")
    row = (slide_id, project, cohort, microscope_name, *dates)
    summary = target / f"{slide_id}-metadata_summary_stacked_images.csv"
    write_table(pd.DataFrame([row], columns=list(METADATA_COLUMNS)), summary)
    parts = {
        "mask_stack": (mask_stack, "<u8"),
        "sum_images_squared": (sum_images_squared, "<f8"),
        "std_err_of_mean_image": (standard_error, "<f8"),
        "mean_image": (mean, "<f8"),
    }
    write_raw({target / f"{slide_id}-{name}.bin": part for name, part in parts.items()})
    return target


def write_slide_xml(
    folder: str | os.PathLike[str],
    slide_id: str,
    shape: tuple[int, int, int],
    filters: Sequence[tuple[str, float]],
) -> None:
    """Write the two XML files that tell a slide's shape and the filter and wavelength in nm of every layer."""
    rows, columns, layers = shape
    with whole_file(Path(folder) / f"{slide_id}.Parameters.xml", "w", encoding="utf-8") as handle:
        handle.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<IM3Fragment>\n'
            f'  <D name="Shape" type="Int32" size="3">{columns} {rows} {layers}</D>\n</IM3Fragment>\n'
        )
    entries = "".join(
        f'<G name="{i}"><G name="Spectrum"><G name="0"><D name="Wavelengths">{nm:g}</D></G></G>'
        f'<G name="AcquisitionSettings"><G name="0"><D name="ExcitationFilterName">{escape(name)}</D></G></G></G>\n'
        for i, (name, nm) in enumerate(filters)
    )
    with whole_file(Path(folder) / f"{slide_id}.Full.xml", "w", encoding="utf-8") as handle:
        handle.write(
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<IM3><G><G><G><G name="Spectra">\n{entries}</G></G></G></G></IM3>\n'
        )
