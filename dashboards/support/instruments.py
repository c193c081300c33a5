"""The instruments of the workbench, as the front page and the header name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instrument:
    """One instrument of the workbench, as the front page and the header name it.

    Attributes
    ----------
    name
        Name of its page and of its file in this folder's parent.
    title
        Title of its page.
    question
        The question it answers.
    takes
        What it starts from.
    gives
        What leaves it.
    """

    name: str
    title: str
    question: str
    takes: str
    gives: str


INSTRUMENTS = (
    Instrument(
        name="flatfield",
        title="Flatfield",
        question="Which slides share one illumination pattern, and what is it?",
        takes="mean images of your slides, or their fields as TIFF",
        gives="comparison table, groups, registered flatfield models, report",
    ),
    Instrument(
        name="tiles",
        title="Tiles",
        question="How do I cut calibrated, normalised training patches, and put them back?",
        takes="folders of microscope images: TIFF, OME-TIFF, PNG, JPEG",
        gives="tiles of one size and one pixel size, a manifest, merged images, report",
    ),
    Instrument(
        name="circles",
        title="Circles",
        question="What round objects are in last night's acquisitions?",
        takes="folders of images by date, subject and experiment: PNG, TIFF, JPEG",
        gives="a table of all circles, pictures of each image, drift seen over nights, report",
    ),
    Instrument(
        name="exposures",
        title="Exposures",
        question="Which cryo-EM micrographs were shot twice in one place?",
        takes="the folder of an EPU session, finished or still running",
        gives="calibrated beam shift, optics groups, lists of bad files, report",
    ),
    Instrument(
        name="texture",
        title="Texture",
        question="Which patches of a tile set look alike?",
        takes="a folder of tiles: TIFF, PNG, JPEG",
        gives="clusters, scores, classes learnt from a few labels, label images, report",
    ),
)


def served_instruments(folder: Path | None = None) -> tuple[Instrument, ...]:
    """Instruments whose page exists.

    Parameters
    ----------
    folder
        Where the pages are; the folder of the installed package by default.

    Returns
    -------
    tuple of Instrument
        Those with a file ``<name>.py``, in their usual order.
    """
    folder = Path(__file__).resolve().parents[1] if folder is None else Path(folder)
    return tuple(instrument for instrument in INSTRUMENTS if (folder / f"{instrument.name}.py").is_file())
