"""``graticule tiles``: the same tiles as the functions, and sentences instead of tracebacks."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import tifffile
from cyclopts import Parameter

from analysis.tiles import export_tiles, merge_images
from dashboards.support import tiles_command
from dashboards.support.command import main

ACTS = ("info", "export", "merge", "remove")


@pytest.fixture
def source(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 60_000, (150, 211)).astype(np.uint16)
        tifffile.imwrite(f"source/im{number}.tif", pixels, resolution=(20_000, 20_000), resolutionunit=3)
    return tmp_path / "source"


def told(capsys):
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ACTS)
def test_every_option_is_explained(name):
    for option in inspect.signature(getattr(tiles_command, name)).parameters.values():
        words = [part.help for part in option.annotation.__metadata__ if isinstance(part, Parameter) and part.help]
        assert words, option.name
        assert "`" not in words[0]


@pytest.mark.parametrize(("name", "function"), [("export", export_tiles), ("merge", merge_images)])
def test_defaults_are_those_of_the_functions(name, function):
    options = inspect.signature(getattr(tiles_command, name)).parameters
    for argument in inspect.signature(function).parameters.values():
        if argument.kind is argument.KEYWORD_ONLY and argument.name in options and argument.name != "names":
            assert options[argument.name].default == argument.default, argument.name


def test_info_tells_what_is_there(source, capsys):
    assert main(["tiles", "info", "source", "--tile-size", "64", "--overlap", "16", "--json", "--output", "a.csv"]) == 0
    said = told(capsys)
    assert said["images"] == 2
    assert said["pixel_size_um"] == [0.5, 0.5]
    assert said["tiles"] == 2 * 3 * 5
    assert (source.parent / "a.csv").exists()


def test_export_is_that_of_the_function(source, capsys):
    line = ["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "16", "--normalisation", "global",
            "--percentiles", "1,99", "--bounds", "0,255", "--dtype", "uint8", "--format", ".png", "--target-pixel-size",
            "325", "--unit", "nm", "--split", "0.5,0.5,0"]  # fmt: skip
    assert main([*line, "--json"]) == 0
    said = told(capsys)
    done = export_tiles("source", "other", tile_size=64, overlap=16, normalisation="global", percentiles=(1, 99),
                        bounds=(0, 255), dtype="uint8", format=".png", target_pixel_size_um=0.325,
                        split=(0.5, 0.5, 0))  # fmt: skip
    assert {**said, "folder": ""} == {**done.summary(), "folder": ""}
    for file in done.table["tile"]:
        assert (source.parent / "out" / file).read_bytes() == (source.parent / "other" / file).read_bytes()


def test_export_and_merge_give_the_images_back(source, capsys):
    assert main(["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "32"]) == 0
    assert main(["tiles", "merge", "out", "merged", "--blending", "gaussian", "--names", "im1", "--json"]) == 0
    assert told_last(capsys)["images"] == 1
    assert np.array_equal(tifffile.imread("merged/im1.tif"), tifffile.imread("source/im1.tif"))


def told_last(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_emptying_asks_first(source, capsys):
    assert main(["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "16"]) == 0
    before = len(list((source.parent / "out").iterdir()))
    assert main(["tiles", "remove", "out"]) == 0
    assert "add --yes" in capsys.readouterr().err
    assert len(list((source.parent / "out").iterdir())) == before
    assert main(["tiles", "remove", "out", "--yes"]) == 0
    assert not list((source.parent / "out").iterdir())


def test_empty_starts_anew(source, capsys):
    assert main(["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "16"]) == 0
    assert main(["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "8"]) == 2
    assert "set replace=True" in capsys.readouterr().err
    assert main(["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "8", "--empty"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--overlap", "300"], "overlap must"),
        (["--normalisation", "all"], "normalisation"),
        (["--normalisation", "global", "--dtype", "uint8"], "uint8"),
        (["--unit", "pixel", "--pixel-size", "1"], "unit must be a length"),
        (["--pixel-size", "-1"], "pixel size must be a number above 0"),
        (["--split", "1,1,1"], "split must"),
        (["--bounds", "1"], "must be 2 values"),
    ],
)
def test_wrong_use_is_a_sentence_and_2(options, words, source, capsys):
    assert main(["tiles", "export", "source", "out", *options]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len([line for line in said.err.splitlines() if line]) == 1


def test_output_in_the_source_is_refused(source, capsys):
    assert main(["tiles", "export", "source", "source/tiles"]) == 2
    assert "out_dir must lie outside" in capsys.readouterr().err


def test_a_bad_image_is_a_line_and_1(source, capsys):
    (source / "im0.tif").write_bytes((source / "im0.tif").read_bytes()[:-500])
    assert main(["tiles", "export", "source", "out", "--tile-size", "64", "--overlap", "16", "--json"]) == 1
    said = capsys.readouterr()
    assert "im0.tif" in said.err
    assert json.loads(said.out)["images"] == 1
