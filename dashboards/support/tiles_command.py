"""``graticule tiles``: the tiles instrument on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from analysis.pixel_size import convert_length
from analysis.tables import write_table
from analysis.tiles import export_tiles, find_images, make_layout, merge_images, read_manifest, remove_tiles
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.options import settings_of_file

SPELLINGS = {"normalisation": ("--normalisation", "--normalization")}

Sources = Annotated[list[Path], Parameter(consume_multiple=True)]

app = App(name="tiles", help="How do I cut calibrated, normalised training patches, and put them back?")


@act()
def info(
    run: Run,
    sources: Sources,
    *,
    tile_size: int = 512,
    overlap: int = 128,
    output: Path | None = None,
) -> Outcome:
    """Say what images are there, how large their pixels are, and how many tiles they make.

    Parameters
    ----------
    sources
        Folders of images, or image files.
    tile_size
        Rows and columns of a tile.
    overlap
        Pixels that a tile shares with the one before.
    output
        CSV file for the table of images.
    """
    found = find_images(sources, **run.keywords)
    tiles = sum(
        len(make_layout((image.rows, image.columns), tile_size=tile_size, overlap=overlap)) for image in found.infos
    )
    files = [write_table(found.table, output)] if output is not None else []
    summary = found.summary()
    said = summary.pop("warnings")
    shown = found.table[["name", "rows_px", "columns_px", "channels", "planes", "dtype", "pixel_size_x_um"]]
    shown = shown.assign(pixel_size_from=found.table["pixel_size_source"])
    return Outcome({**summary, "tiles": tiles}, files, found.problems, shown, said)


@act(export_tiles, leave_out=("pixel_size_um", "target_pixel_size_um"), spellings=SPELLINGS)
def export(
    run: Run,
    source: Path,
    output: Path,
    *,
    also: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    pixel_size: float | None = None,
    target_pixel_size: float | None = None,
    unit: str = "um",
    empty: bool = False,
    **options: Any,
) -> Outcome:
    """Cut images into tiles of one size, with a manifest that puts them together again.

    Parameters
    ----------
    source
        Folder of images, or an image file.
    output
        Folder of the tiles; neither the source nor in it.
    also
        Further folders or files.
    pixel_size
        Size of the images' pixels, in place of what the files say.
    target_pixel_size
        Size of the tiles' pixels; images are not resampled when not given.
    unit
        Of both sizes: nm, um, mm, cm or m.
    empty
        Remove the tiles of the earlier export there first; nothing else is removed.
    """
    sizes = _sizes_um(unit, pixel_size=pixel_size, target_pixel_size=target_pixel_size)
    if empty and (Path(output) / "tiles.json").exists():
        remove_tiles(output)
    done = export_tiles([source, *(also or [])], output, **sizes, **options, **run.work)
    files = [done.folder / "tiles.csv", done.folder / "tiles.json"]
    return Outcome(done.summary(), files, done.problems)


_NOT_REPORTED = ("masks", "labels", "replace", "workers", "pixel_size_um", "target_pixel_size_um")


@act(export_tiles, leave_out=_NOT_REPORTED, many=False, spellings=SPELLINGS)
def report(
    run: Run,
    source: Path,
    *,
    also: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    output: Path = Path("tiles_report.html"),
    image: str = "",
    pixel_size: float | None = None,
    target_pixel_size: float | None = None,
    unit: str = "um",
    **options: Any,
) -> Outcome:
    """Write images, layout and values as one HTML file that opens without a network.

    Parameters
    ----------
    source
        Folder of images, or an image file.
    also
        Further folders or files.
    output
        The file.
    image
        Name of the image whose tiles are shown; the first when not given.
    pixel_size
        Size of the images' pixels, in place of what the files say.
    target_pixel_size
        Size of the tiles' pixels; images are not resampled when not given.
    unit
        Of both sizes: nm, um, mm, cm or m.
    """
    # Bokeh takes a second to import, and only this act needs it
    from dashboards.support.tiles_plan import make_plan
    from dashboards.support.tiles_report import write_tiles_report

    found = find_images([source, *(also or [])], **run.keywords)
    how = {**options, **_sizes_um(unit, pixel_size=pixel_size, target_pixel_size=target_pixel_size)}
    write_tiles_report(output, found, image=image, **how)
    plan = make_plan(found, how)
    return Outcome(
        {"images": plan.images, "tiles": plan.tiles}, [output], found.problems, warnings=list(found.warnings)
    )


@act(merge_images, leave_out=("names",))
def merge(
    run: Run,
    tiles: Path,
    output: Path,
    *,
    names: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    **options: Any,
) -> Outcome:
    """Put tiles, or predictions for them, together to images.

    Parameters
    ----------
    tiles
        Folder that export wrote, with its manifest.
    output
        Folder of the images.
    names
        Of the images to put together; all when not given.
    """
    done = merge_images(tiles, output, names=tuple(names or ()), **options, **run.keywords)
    return Outcome(done.summary(), [Path(file) for file in done.table["file"]], done.problems, done.table)


@act()
def remove(run: Run, tiles: Path, *, yes: bool = False) -> Outcome:
    """Remove the tiles that a manifest lists, and nothing else.

    Parameters
    ----------
    tiles
        Folder that export wrote.
    yes
        Do it; without, only say how many there are.
    """
    if not yes:
        count = sum(len(cut.files()) for cut in read_manifest(tiles))
        return Outcome(
            {"files": count, "removed": 0}, warnings=[f"{count} files would be removed; add --yes to do it."]
        )
    removed = remove_tiles(tiles)
    return Outcome({"files": len(removed), "removed": len(removed)})


def _sizes_um(unit: str, **sizes: float | None) -> dict[str, float | None]:
    return {f"{name}_um": convert_length(size, unit) if size is not None else None for name, size in sizes.items()}


def _command(function: Any, name: str) -> None:
    app.command(App(name=name, default_command=function, config=settings_of_file, help=function.__doc__))


_command(info, "info")
_command(export, "export")
_command(report, "report")
_command(merge, "merge")
_command(remove, "remove")
