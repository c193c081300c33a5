"""A drawn session as EPU writes it: data XML, session file, micrographs and pictures of foil holes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
from PIL import Image

from analysis.exposures._session import Session

_CONTRACTS = "http://schemas.datacontract.org/2004/07/"
_ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_BARE_BYTES = 2700  # of an exposure's XML without padding, so that all have the same number of ranges
_FIELD_UM = 4.2  # of a picture of a foil hole
_SERIALIZATION = "http://schemas.microsoft.com/2003/10/Serialization/"


def write_epu_session(
    session: Session, truth: pd.DataFrame, *, images: bool, image_px: int, padding_bytes: int, seed: int
) -> None:
    """Write the session's files below its folder."""
    spacing = session.hole_spacing_um or 2.5
    session.folder.mkdir(parents=True, exist_ok=True)
    (session.folder / "EpuSession.dm").write_text(make_session_xml(session), encoding="utf-8")
    for folder in {(session.folder / file).parent for file in session.table["file"]}:
        folder.mkdir(parents=True, exist_ok=True)
    for row in session.table.to_dict("records"):
        path = session.folder / row["file"]
        path.write_text(make_exposure_xml(row, padding_bytes), encoding="utf-8")
        if images:
            rng = np.random.default_rng([seed, int(row["acquisition"]), int(row["foil_hole"])])
            _save(path.with_suffix(".jpg"), draw_micrograph(image_px, rng))
    if images:
        for path, picture in _draw_foil_holes(session, truth, spacing, image_px, seed):
            path.parent.mkdir(exist_ok=True)
            _save(path, picture)


def make_session_xml(session: Session) -> str:
    """Return the parts of ``EpuSession.dm`` that tell about the grid."""
    row = session.sessions.iloc[0]
    return (
        f'<?xml version="1.0"?>\n<EpuSessionXml xmlns="{_CONTRACTS}Applications.Epu.Persistence" '
        f'xmlns:i="{_SCHEMA}-instance" xmlns:z="{_SERIALIZATION}" z:Id="1">'
        f"<ClusteringMode>{escape(row['clustering_mode'])}</ClusteringMode><ClusteringRadius>1E-05</ClusteringRadius>"
        '<Name z:Id="2">Synthetic</Name><Samples z:Id="3"><_items z:Id="4" z:Size="2"><SampleXml z:Id="5">'
        f'<FilterHolesSettings z:Id="6"><HoleSize>{_si(row["hole_size_um"], 1e-6)}</HoleSize>'
        f"<HoleSpacing>{_si(row['hole_spacing_um'], 1e-6)}</HoleSpacing><Rotation>0</Rotation></FilterHolesSettings>"
        '<GridGeometry>Square</GridGeometry></SampleXml><SampleXml i:nil="true"/></_items><_size>1</_size></Samples>'
        "</EpuSessionXml>"
    )


def make_exposure_xml(row: dict[str, Any], padding_bytes: int = 0) -> str:
    """Return the XML of one exposure, a row of `Session.table`."""
    acquired = row["acquired"].tz_convert("Etc/GMT-1")
    time = f"{acquired:%Y-%m-%dT%H:%M:%S}.{acquired.value % 1_000_000_000 // 100:07d}+01:00"
    custom = "".join(
        f"<a:KeyValueOfstringanyType><a:Key>{key}</a:Key>"
        f'<a:Value i:type="b:double" xmlns:b="{_SCHEMA}">{value}</a:Value></a:KeyValueOfstringanyType>'
        for key, value in (
            ("DoseOnCamera", _si(row["dose_on_camera_e_per_px"])),
            ("Dose", _si(row["dose_e_per_a2"], 1e20)),
            ("AppliedDefocus", _si(row["applied_defocus_um"], 1e-6)),
        )
    )
    matrix = "".join(
        f"<a:_m{n}>{_si(row[f'image_{name}_um'], 1e-6)}</a:_m{n}>"
        for n, name in ((11, "xx"), (12, "xy"), (21, "yx"), (22, "yy"))
    )
    pixel = f"<numericValue>{_si(row['pixel_size_angstrom'], 1e-10)}</numericValue>"
    area = f"<a:height>{row['field_height_px']:.0f}</a:height><a:width>{row['field_width_px']:.0f}</a:width>"
    head = (
        f'<MicroscopeImage xmlns="{_CONTRACTS}Fei.SharedObjects" xmlns:i="{_SCHEMA}-instance"><name>Empty</name>'
        f'<uniqueID>{row["foil_hole"]}-{row["acquisition"]}</uniqueID><CustomData xmlns:a="{_ARRAYS}">{custom}'
        f'</CustomData><ReferenceTransformation><matrix xmlns:a="{_CONTRACTS}System.Windows.Media">{matrix}</matrix>'
        f"</ReferenceTransformation><SpatialScale><pixelSize><x>{pixel}</x><y>{pixel}</y></pixelSize></SpatialScale>"
        f"<microscopeData><acquisition><acquisitionDateTime>{time}</acquisitionDateTime><camera>"
        f'<Binning xmlns:a="{_CONTRACTS}System.Drawing"><a:x>1</a:x><a:y>1</a:y></Binning>'
    )
    tail = (
        f"<ExposureTime>{_si(row['exposure_time_s'])}</ExposureTime><Name>{escape(row['camera'])}</Name>"
        f'<ReadoutArea xmlns:a="{_CONTRACTS}System.Drawing">{area}<a:x>0</a:x><a:y>0</a:y></ReadoutArea></camera>'
        "</acquisition><core><ApplicationSoftware>EPU</ApplicationSoftware>"
        f"<ApplicationSoftwareVersion>{escape(row['software_version'])}</ApplicationSoftwareVersion></core>"
        f"<gun><AccelerationVoltage>{_si(row['voltage_kv'], 1e3)}</AccelerationVoltage></gun>"
        f"<instrument><InstrumentModel>{escape(row['microscope'])}</InstrumentModel></instrument>"
        f"<optics><BeamDiameter>{_si(row['beam_diameter_um'], 1e-6)}</BeamDiameter>"
        f"{_pair('BeamShift', row['beam_shift_x'], row['beam_shift_y'])}"
        f"{_pair('BeamTilt', row['beam_tilt_x'], row['beam_tilt_y'])}<Defocus>{_si(row['defocus_um'], 1e-6)}</Defocus>"
        f"{_pair('ImageShift', row['image_shift_x'], row['image_shift_y'])}<TemMagnification><NominalMagnification>"
        f"{row['magnification']:.0f}</NominalMagnification></TemMagnification></optics>"
        f"<stage><Holder>Unspecified</Holder><Position><A>{_si(np.radians(row['stage_alpha_deg']))}</A>"
        f"<B>{_si(np.radians(row['stage_beta_deg']))}</B><X>{_si(row['stage_x_um'], 1e-6)}</X>"
        f"<Y>{_si(row['stage_y_um'], 1e-6)}</Y><Z>{_si(row['stage_z_um'], 1e-6)}</Z></Position></stage>"
        "</microscopeData></MicroscopeImage>"
    )
    return head + _fractions(padding_bytes - _BARE_BYTES) + tail


def _si(value: float, factor: float = 1.0) -> str:
    return repr(float(value * factor))


def _pair(name: str, x: float, y: float) -> str:
    return f'<{name} xmlns:a="{_CONTRACTS}Fei.Types"><a:_x>{_si(x)}</a:_x><a:_y>{_si(y)}</a:_y></{name}>'


def _fractions(length: int) -> str:
    """Return a list of frame ranges of about this many bytes, none for 0."""
    if length <= 0:
        return ""
    start = (
        f'<CameraSpecificInput xmlns:a="{_ARRAYS}"><a:KeyValueOfstringanyType><a:Key>FractionationSettings</a:Key>'
        f'<a:Value i:type="b:VaridistantFractionation" xmlns:b="{_CONTRACTS}Fei.Applications.Common.Omp.Interface">'
        "<b:DoseFractions>"
    )
    end = "</b:DoseFractions></a:Value></a:KeyValueOfstringanyType></CameraSpecificInput>"
    parts, missing, frame = [], length - len(start) - len(end), 1
    while missing > 0:
        parts.append(
            f'<a:anyType i:type="b:DoseFractionDefinition"><b:EndFrameNumber>{frame + 58}</b:EndFrameNumber>'
            f"<b:StartFrameNumber>{frame}</b:StartFrameNumber></a:anyType>"
        )
        missing -= len(parts[-1])
        frame += 59
    return "".join([start, *parts, end])


def _save(path, picture: np.ndarray) -> None:
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=85)


def draw_micrograph(image_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return a picture of particles in noise, (rows, columns), 0 to 255."""
    picture = rng.normal(128, 26, (image_px, image_px))
    rows, columns = np.mgrid[:image_px, :image_px]
    radius = image_px / 40
    for row, column in rng.uniform(0, image_px, (18, 2)):
        picture -= 34 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))
    return picture


def _draw_foil_holes(
    session: Session, truth: pd.DataFrame, spacing: float, image_px: int, seed: int
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield path and picture of every hole, before and after it was centred.

    A hole exposed again shows the same specks: unmoved where the stage stood still, else moved and with the marks
    of the beam.
    """
    table = session.table.assign(kind=truth["kind"].to_numpy(), of=truth["first_exposure"].to_numpy())
    hole_of = dict(zip(table["name"], table["foil_hole"], strict=True))
    for (_, hole), shots in table.groupby(["grid_square", "foil_hole"], sort=False):
        first = shots.iloc[0]
        same = hole_of.get(first["of"], hole)
        moved = (0.0, 0.0) if same == hole or first["kind"] == "missed_stage_move" else (0.33, -0.27)
        folder = session.folder / first["file"]
        for seconds, error in ((18, (0.5, -0.4)), (9, (0.03, 0.02))):
            rng = np.random.default_rng([seed, int(hole), seconds])
            stamp = first["named_time"] - pd.Timedelta(seconds=seconds)
            path = folder.parents[1] / "FoilHoles" / f"FoilHole_{hole}_{stamp:%Y%m%d_%H%M%S}.jpg"
            marked = moved != (0.0, 0.0)
            yield path, draw_foil_hole(image_px, spacing, [seed, int(same)], np.add(moved, error), marked, rng)


def draw_foil_hole(image_px, spacing_um, specks, offset_um, marked, rng) -> np.ndarray:
    """Return a picture of one hole of a carbon film, (rows, columns), 0 to 255.

    Parameters
    ----------
    image_px
        Rows and columns.
    spacing_um
        Of the holes; the hole's radius is a quarter of it.
    specks
        Seed of what lies in and beside the hole.
    offset_um
        (x, y) of the hole from the middle of the picture.
    marked
        Whether the beam has left its marks.
    rng
        Of the noise.
    """
    pixel = _FIELD_UM / image_px
    rows, columns = (np.mgrid[:image_px, :image_px] - (image_px - 1) / 2) * pixel
    x, y = columns - offset_um[0], rows - offset_um[1]
    radius = np.hypot(x, y)
    picture = 96 + 88 / (1 + np.exp((radius - spacing_um / 4) / 0.03))
    inside = np.random.default_rng(specks)
    for place, size, depth in zip(
        inside.uniform(-2, 2, (26, 2)), inside.uniform(0.04, 0.16, 26), inside.uniform(15, 60, 26), strict=True
    ):
        picture -= depth * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * size**2))
    if marked:
        picture += 14 * ((np.abs(radius - 0.45) < 0.05) & (radius < spacing_um / 4))
    return picture + rng.normal(0, 5, picture.shape)
