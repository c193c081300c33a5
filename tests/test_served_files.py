"""Files that others put into a folder of images: bombs, XML that grows, pickles; and tables that spreadsheets run."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import bombs
import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis.exposures import read_epu_session
from analysis.flatfield import find_slides
from analysis.images import read_image
from analysis.planes import find_info, open_plane
from analysis.synthetic.exposures import draw_session
from analysis.synthetic.flatfield import draw_cohort
from analysis.tables import write_table
from dashboards.support.circles_work import safe_csv as of_circles
from dashboards.support.texture_tables import safe_csv as of_texture

REPOSITORY = Path(__file__).parents[1]
PLANE = "from analysis.planes import open_plane\nwith open_plane(path, channel=1, plane=1) as plane:\n    "
READERS = {
    "flatfield": "from analysis.images import read_image\nread_image(path)",
    "exposures": "from analysis.images import read_preview\nread_preview(path)",
    "circles, tiles, texture": PLANE + "plane.all()",
    "tiles by rows": PLANE + "plane.rows(0, 8)",
}
BOMBS = {
    "PNG that declares 7 GB": (bombs.png, "a.png"),
    "PNG with a comment of 1.5 GB": (bombs.png_with_text, "a.png"),
    "PNG with rows of 1.5 GB": (bombs.png_with_long_rows, "a.png"),
    "deflate": (lambda path: bombs.tiff_that_declares_much(path, "zlib"), "a.tif"),
    "LZW": (lambda path: bombs.tiff_that_declares_much(path, "lzw"), "a.tif"),
    "zstd": (lambda path: bombs.tiff_that_declares_much(path, "zstd"), "a.tif"),
    "strip of 1.5 GB": (bombs.tiff_with_long_strips, "a.tif"),
    "strip that declares 20 GB": (bombs.tiff_of_one_strip, "a.tif"),
    "tile that declares 20 GB": (bombs.tiff_of_one_tile, "a.tif"),
    "strip of zstd of 0.7 GB": (lambda path: bombs.tiff_around(path, 50000, bombs.zstd_content()), "a.tif"),
    "strip of JPEG of 1.6 GB": (lambda path: bombs.tiff_around(path, 7, bombs.jpeg_content()), "a.tif"),
    "strip of JPEG 2000 of 1.6 GB": (lambda path: bombs.tiff_around(path, 34712, bombs.jpeg2000_content()), "a.tif"),
    "strip of PNG of 1.6 GB": (lambda path: bombs.tiff_around(path, 34933, bombs.png_content()), "a.tif"),
}
MOST_MB = 200


def grown(path, *codes):
    """Run pieces of code in a process of their own; how much memory they took at most, and what each of them said."""
    program = (
        "import resource, json, sys, tifffile, PIL.Image, imagecodecs, lxml.etree\n"
        "import analysis.images, analysis.planes, analysis.exposures, analysis.flatfield\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"path, said = {str(path)!r}, []\n"
        f"for code in {codes!r}:\n"
        "    try:\n        exec(code)\n        said.append('read')\n"
        "    except ValueError as error:\n        said.append(str(error))\n"
        "print(json.dumps([(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, said]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="measures memory as Unix does")
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_fill_no_memory(tmp_path, kind):
    """A small picture that unpacks to gigabytes: refused by the size it declares, in a sentence that names the file."""
    make, name = BOMBS[kind]
    path = make(tmp_path / name)
    assert path.stat().st_size < 4e6
    size_mb, said = grown(path, *READERS.values())
    assert size_mb < MOST_MB
    for reader, words in zip(READERS, said, strict=True):
        # Pillow stops unpacking at the end of the rows it needs, and a few rows of a large image are no bomb
        harmless = "rows of" in kind or (reader == "tiles by rows" and kind in ("deflate", "LZW", "zstd"))
        assert str(path) in words or (words == "read" and harmless), (reader, words)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "png"])
@pytest.mark.parametrize("tile", [None, (256, 256)])
def test_pictures_within_a_file_are_read(tmp_path, compression, tile):
    pixels = np.arange(300 * 500).reshape(300, 500).astype(np.uint8)
    how = {"tile": tile} if tile else {"rowsperstrip": 100}
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression, metadata=None, **how)
    found = read_image(tmp_path / "a.tif").pixels[..., 0]
    assert found.shape == pixels.shape and (compression == "jpeg" or np.array_equal(found, pixels))
    with open_plane(tmp_path / "a.tif", channel=1, plane=1) as plane:
        assert np.array_equal(plane.all(), found)


def test_a_large_image_within_the_budget_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3000, 3000), np.uint16), compression="zlib")
    assert read_image(tmp_path / "a.tif").pixels.shape == (3000, 3000, 1)
    assert find_info(tmp_path / "a.tif").shape == (3000, 3000)


# ---- XML -------------------------------------------------------------------------------------------------

GROWING = ("laughs", "quadratic", "outside", "deep", "long_attribute")


def text_of(kind, secret):
    return bombs.outside(secret) if kind == "outside" else getattr(bombs, kind)()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("root:x:0")
    return path


@pytest.mark.parametrize("kind", GROWING)
def test_exposures_that_grow_are_refused(tmp_path, secret, kind):
    """XML of EPU with entities, outside files or endless depth: a row with the reason, and the rest goes on."""
    session = tmp_path / "session"
    draw_session(session, seed=1)
    first = sorted(session.rglob("FoilHole_*_Data_*.xml"))[0]
    first.write_text(text_of(kind, secret))
    found = read_epu_session(session)
    assert len(found.problems) == 1 and first.name in found.problems.to_string()
    assert "root:x" not in found.problems.to_string() + found.table.to_string()
    assert len(found.table) > 3


@pytest.mark.parametrize("kind", GROWING)
def test_slides_that_grow_are_refused(tmp_path, secret, kind):
    """XML of AstroPath with entities, outside files or endless depth: the slide is listed with the reason."""
    (root,) = draw_cohort(tmp_path / "data", seed=3, shape=(24, 34, 10), sizes=(2,), outliers=0).roots
    path = next(root.rglob("*.Parameters.xml"))
    path.write_text(text_of(kind, secret))
    look = "from analysis.flatfield import find_slides\nraise ValueError(find_slides([path]).problems.to_string())"
    size_mb, (said,) = grown(root, look)
    assert path.name in said and "root:x" not in said
    assert size_mb < MOST_MB
    assert len(find_slides([root]).problems) == 1


@pytest.mark.parametrize("kind", GROWING)
def test_ome_metadata_that_grows_says_nothing(tmp_path, secret, kind):
    """OME-XML with entities, outside files or endless depth: not looked at, or the file is refused."""
    text = text_of(kind, secret).replace("DOCTYPE a", "DOCTYPE OME")
    text = re.sub(r"^(.*?)<a\b", r"\1<OME", text, count=1, flags=re.S)
    text = text.removesuffix("</a>") + ("" if text.endswith("/>") else "</OME>")
    path = bombs.tiff_of_ome(tmp_path / "a.ome.tif", text)
    size_mb, said = grown(path, READERS["flatfield"], READERS["circles, tiles, texture"])
    assert size_mb < 2 * MOST_MB and "root:x" not in "".join(said)


# ---- pickles ---------------------------------------------------------------------------------------------

RUNS_WHAT_IT_READS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "diskcache", "yaml"}
WIRE = {"analysis/scheduler.py"}
"""Sends functions to workers of a scheduler that the person named; reads no file."""


@pytest.mark.parametrize(
    "path",
    [path for top in ("analysis", "dashboards") for path in sorted((REPOSITORY / top).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_no_file_is_run_when_it_is_read(path):
    """A file in a shared folder that runs programs when it is read (pickle): nothing reads such files."""
    where = path.relative_to(REPOSITORY).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0], *(alias.name for alias in node.names)]
        if where not in WIRE:
            assert not RUNS_WHAT_IT_READS & set(names), f"{where}:{node.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called.rpartition(".")[2] not in ("read_pickle", "to_pickle", "eval", "exec"), (
                f"{where}:{node.lineno}"
            )
            if called in ("np.load", "numpy.load"):
                how = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert how.get("allow_pickle") == "False", f"{where}:{node.lineno}"
            assert "allow_pickle=True" not in ast.unparse(node), f"{where}:{node.lineno}"
            assert "shell=True" not in ast.unparse(node), f"{where}:{node.lineno}"


# ---- tables ----------------------------------------------------------------------------------------------

FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://example.org")')


@pytest.mark.parametrize("formula", FORMULAS)
def test_tables_for_people_run_nothing(tmp_path, formula):
    """A file called =HYPERLINK(...) in a table that is opened in a spreadsheet: it stays text."""
    table = pd.DataFrame({"name": [formula, "plain"], "value": [-1.5, 2.0]})
    write_table(table, tmp_path / "a.csv", for_spreadsheets=True)
    (tmp_path / "b.csv").write_text(of_circles(table), newline="")
    (tmp_path / "c.csv").write_text(of_texture(table), newline="")
    for path in sorted(tmp_path.glob("*.csv")):
        back = pd.read_csv(path)
        assert back["name"].iloc[1] == "plain" and back["value"].tolist() == [-1.5, 2.0]
        assert back["name"].iloc[0].startswith("'"), path.name


def test_tables_that_programs_read_stay_as_they_are(tmp_path):
    table = pd.DataFrame({"name": ["=a", "-b"]})
    assert pd.read_csv(write_table(table, tmp_path / "a.csv"))["name"].tolist() == ["=a", "-b"]
