"""What is written about duplicates reads back in the programs it is for; pictures are found, compared and laid out."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from analysis.exposures._causes import SAME_PICTURE
from analysis.exposures._duplicates import find_duplicates
from analysis.exposures._images import find_images, likeness
from analysis.exposures._lists import find_movies, write_bad_files, write_exposure_list, write_tables
from analysis.exposures._montage import make_montage, save_montage
from analysis.exposures._predose import measure_predose
from analysis.exposures._star import clean_star, write_optics_star
from analysis.images import read_preview
from analysis.synthetic.exposures import draw_session
from analysis.tables import read_table

SESSION = {
    "grid_squares": 3, "stage_positions": 4, "groups": 9, "shots": 3, "seed": 7, "image_px": 160,
    "re_exposed_holes": 4, "missed_stage_moves": 2, "partial_overlaps": 2, "triples": 1, "repeated_shots": 2,
}  # fmt: skip
COUNT, BAD = 3 * 4 * 9 * 3 + 24, 24


class Fixed:
    def __init__(self, matrix):
        self.matrix = matrix

    def positions(self, table):
        stage = table[["stage_x_um", "stage_y_um"]].to_numpy()
        return stage + table[["beam_shift_x", "beam_shift_y"]].to_numpy() @ self.matrix.T


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A small session with pictures, only to be read."""
    return draw_session(tmp_path_factory.mktemp("session"), **SESSION, images=True)


@pytest.fixture(scope="module")
def images(drawn):
    return find_images(drawn.session)


@pytest.fixture(scope="module")
def found(drawn, images):
    return find_duplicates(drawn.session, Fixed(drawn.matrix), images=images)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# ---------------------------------------------------------------------------------------------------------- pictures


def test_pictures_of_every_exposure_are_found(drawn, images):
    assert images.summary() == {"exposures": COUNT, "micrographs": COUNT, "foil_hole_images": COUNT}
    for row in images.table.itertuples():
        assert (drawn.session.folder / row.micrograph).is_file()
        assert (drawn.session.folder / row.foil_hole_image).is_file()
        assert row.foil_hole_before < row.foil_hole_image
    times = images.table.merge(drawn.session.table[["file", "named_time"]], on="file")
    assert (times["foil_hole_time"] < times["named_time"]).all()


def test_last_foil_hole_picture_before_the_exposure(drawn, tmp_path):
    session = drawn.session
    row = session.exposures.iloc[0]
    square = tmp_path / row["file"].split("/Data/")[0]
    before, after = (row["named_time"] + pd.Timedelta(seconds=s) for s in (-90, 5))

    def find(*names):
        shutil.rmtree(tmp_path)
        touch(square / "FoilHoles", *names)
        moved = SimpleNamespace(folder=tmp_path, exposures=session.exposures)
        return find_images(moved).path(row["file"], "foil_hole_image")

    early, late = (f"FoilHole_{row['foil_hole']}_{time:%Y%m%d_%H%M%S}" for time in (before, after))
    touch(square, "there")
    assert find(f"{early}.jpg", f"{late}.jpg").stem == early
    assert find(f"{late}.PNG").stem == late
    assert find(f"{early}_2.jpg", f"FoilHole_9{row['foil_hole']}_20200101_000000.jpg") is None
    assert find("other.txt") is None


def test_planted_causes_with_pictures(drawn, found):
    kinds = {
        "hole_reexposed": "re-exposed hole",
        "triple": "re-exposed hole",
        "missed_stage_move": "missed stage move",
        "partial": "partial overlap",
        "repeated_shot": "repeated shot",
    }
    truth = drawn.truth[drawn.truth["planted"]].set_index("name")["kind"].map(kinds)
    members = found.table[found.table["bad"]].set_index("name")["cause"]
    assert members.to_dict() == truth.to_dict()
    likes = found.exposures.set_index("name")["foil_likeness"]
    assert likes[truth.index[truth == "missed stage move"]].min() > 0.95
    assert likes[truth.index[truth == "re-exposed hole"]].max() < 0.6


def test_likeness_tells_the_same_picture_from_another_hole(drawn, images, tmp_path):
    before = [images.folder / path for path in images.table["foil_hole_before"].drop_duplicates()[:12]]
    values = np.array([[likeness(a, b) for a in before] for b in before])
    np.testing.assert_allclose(np.diag(values), 1)
    np.testing.assert_allclose(values, values.T, atol=1e-9)
    # the rim that all holes have must not decide
    assert values[~np.eye(12, dtype=bool)].max() < SAME_PICTURE - 0.05
    picture = Image.open(before[0])
    picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, 3, 0, 1, -2)).point(lambda v: v // 2 + 20).save(
        tmp_path / "moved.png"
    )
    assert likeness(before[0], tmp_path / "moved.png") > SAME_PICTURE
    Image.new("L", (40, 30), 7).save(tmp_path / "flat.png")
    assert np.isnan(likeness(tmp_path / "flat.png", before[0]))
    (tmp_path / "bad.jpg").write_bytes(before[0].read_bytes()[:200])
    with pytest.raises(ValueError, match=r"bad\.jpg must be a whole JPEG or PNG picture"):
        likeness(tmp_path / "bad.jpg", before[0])


def test_preview(tmp_path):
    ramp = np.linspace(0, 60000, 300 * 200).reshape(200, 300)
    Image.fromarray((ramp / 256).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([ramp / 256] * 3).astype(np.uint8)).save(tmp_path / "colour.png")
    for name in ("a.jpg", "deep.png", "colour.png"):
        small = read_preview(tmp_path / name, longest_px=60)
        assert (small.shape, small.dtype) == ((40, 60), np.uint8)
        assert (np.diff(small[:, 30].astype(int)) > 0).all()
    deep = read_preview(tmp_path / "deep.png", longest_px=60)
    assert (deep.min(), deep.max()) == (0, 255)
    assert read_preview(tmp_path / "a.jpg", longest_px=999).shape == (200, 300)
    Image.fromarray(np.full((4, 4), 30000, np.uint16)).save(tmp_path / "flat.png")
    assert read_preview(tmp_path / "flat.png").max() == 0


def test_preview_refusals(tmp_path):
    Image.new("L", (300, 300), 9).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png must decode to at most 1e-05 GB; it declares 9e-05 GB"):
        read_preview(tmp_path / "a.png", memory_gb=1e-5)
    with pytest.raises(ValueError, match="longest_px must be at least 1; got 0"):
        read_preview(tmp_path / "a.png", longest_px=0)
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"", b"GIF89a" + bytes(40), whole[:60], whole[:20] + bytes(40)):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.png must be a whole JPEG or PNG picture"):
            read_preview(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError):
        read_preview(tmp_path / "none.png")


# ------------------------------------------------------------------------------------------------------------- lists


def test_lists_of_bad_files(found, drawn, tmp_path):
    written = write_bad_files(found, tmp_path / "out" / "d", folder=drawn.session.folder)
    jpg, tiff = (path.read_text().splitlines() for path in written.files)
    assert [path.name for path in written.files] == ["d_badfiles_jpg.txt", "d_badfiles_tiff.txt"]
    assert tiff == [f"{name}_fractions.tiff" for name in found.bad]
    assert len(jpg) == len(found.bad) == BAD
    assert all(os.path.isfile(path) for path in jpg)
    assert written.summary()["bad"] == BAD
    assert not written.table["found"].any()
    none = find_duplicates(drawn.session, Fixed(drawn.matrix), radius_um=1e-6)
    assert [path.read_text() for path in write_bad_files(none, tmp_path / "out" / "d").files] == ["", ""]


def test_movies_are_found_by_their_stem(tmp_path):
    names = ["F_1", "F_12", "F_1_2", "F_3", "F_4", "F_5"]
    taken = ["F_1_fractions.tiff", "a/F_12_EER.eer", "a/F_12.mrc", "b/c/F_1_2_Fractions.TIF", "F_3.tif"]
    touch(tmp_path, *taken, "F_4_gain.tiff", "F_4.xml", "F_4.jpg", "xF_5.tiff", "F_51.tiff", "F_5-1.tiff", "F_6.mrc")
    (tmp_path / "a" / "round").symlink_to(tmp_path, target_is_directory=True)
    movies = find_movies(tmp_path, names)
    assert {name: [path.relative_to(tmp_path).as_posix() for path in paths] for name, paths in movies.items()} == {
        "F_1": ["F_1_fractions.tiff"],
        "F_12": ["a/F_12.mrc", "a/F_12_EER.eer"],
        "F_1_2": ["b/c/F_1_2_Fractions.TIF"],
        "F_3": ["F_3.tif"],
        "F_4": [],
        "F_5": [],
    }
    with pytest.raises(ValueError, match="rawdata must be a folder with movies"):
        find_movies(tmp_path / "F_3.tif", names)


def test_movies_of_bad_exposures(found, tmp_path):
    raw = tmp_path / "raw"
    touch(raw, *(f"{name}_EER.eer" for name in found.exposures["name"] if name != found.bad[1]), f"{found.bad[0]}.mrc")
    written = write_bad_files(found, tmp_path / "d", rawdata=raw)
    listed = {path.name.split("_")[-1]: path.read_text().splitlines() for path in written.files}
    assert len(listed["rawdata.txt"]) == len(found.bad) == len(listed["jpg.txt"])
    assert {os.path.dirname(path) for path in listed["rawdata.txt"]} == {str(raw)}
    assert listed["notfound.txt"] == [found.bad[1]]
    assert written.table["found"].sum() == len(found.bad)
    assert written.summary()["movies_found"] == len(found.bad) - 1
    assert written.problems[0].startswith("1 of 24 bad exposures have no movie")
    assert written.problems[1].startswith("1 bad exposures have several movies")
    reject, keep = (path.read_text().splitlines() for path in write_exposure_list(found, tmp_path / "d", rawdata=raw))
    assert reject == listed["rawdata.txt"]
    assert len(keep) == COUNT - BAD


def test_paths_for_cryosparc(found, tmp_path):
    reject, keep = write_exposure_list(found, tmp_path / "d", movie="J1/{name}_EER.eer")
    assert (reject.name, keep.name) == ("d_cryosparc_paths.txt", "d_cryosparc_keep_paths.txt")
    assert reject.read_text().splitlines() == [f"J1/{name}_EER.eer" for name in found.bad]
    assert len(keep.read_text().splitlines()) == COUNT - BAD
    with pytest.raises(ValueError, match=r"movie must have \{name\}"):
        write_exposure_list(found, tmp_path / "d", movie="x.tiff")


def test_tables_read_back(found, drawn, tmp_path):
    predose = measure_predose(drawn.session, Fixed(drawn.matrix))
    written = write_tables(found, tmp_path / "d", predose=predose)
    names = ["d_exposures.csv", "d_groups.csv", "d_pairs.csv", "d_squares.csv", "d_predose.csv"]
    assert [path.name for path in written] == names
    exposures = read_table(written[0], columns=["name", "bad"], numbers=["x_um"], integers=["group"])
    assert exposures["name"].tolist() == found.exposures["name"].tolist()
    assert exposures["x_um"].tolist() == found.exposures["x_um"].tolist()
    pairs = read_table(written[2], columns=["first", "cause"], integers=["first", "second"])
    assert exposures["name"][pairs["second"]].tolist() == pairs["second_name"].tolist()
    assert predose.table["share_exposed"].max() > 0.9


# -------------------------------------------------------------------------------------------------------------- STAR


@pytest.fixture
def groups(drawn):
    table = drawn.session.exposures[["name", "file"]].assign(optics_group=np.arange(COUNT) % 3 + 1)
    return SimpleNamespace(table=table)


def test_optics_groups_as_relion_reads_them(groups, drawn, tmp_path):
    starfile = pytest.importorskip("starfile")
    path = write_optics_star(groups, drawn.session, tmp_path / "o.star", movie="my movies/{name}_EER.eer")
    blocks = starfile.read(path)
    assert list(blocks) == ["optics", "micrographs"]
    assert blocks["optics"]["rlnOpticsGroup"].tolist() == [1, 2, 3]
    assert blocks["optics"]["rlnOpticsGroupName"].tolist() == ["opticsGroup1", "opticsGroup2", "opticsGroup3"]
    pixel = drawn.session.exposures["pixel_size_angstrom"][0]
    for name, value in {
        "Voltage": 300,
        "SphericalAberration": 2.7,
        "AmplitudeContrast": 0.1,
        "MicrographOriginalPixelSize": pixel,
    }.items():
        np.testing.assert_allclose(blocks["optics"][f"rln{name}"], value, atol=1e-4)
    micrographs = blocks["micrographs"]
    assert micrographs["rlnMicrographName"].tolist() == [f"my movies/{n}_EER.eer" for n in groups.table["name"]]
    assert micrographs["rlnOpticsGroup"].tolist() == groups.table["optics_group"].tolist()


def test_optics_groups_need_one_setting(groups, drawn, tmp_path):
    table = drawn.session.table.copy()
    table["voltage_kv"] = np.nan
    unknown = type(drawn.session)(drawn.session.folder, table)
    with pytest.raises(ValueError, match=r"voltage_kv must be one number in optics group 1 .*; got none"):
        write_optics_star(groups, unknown, tmp_path / "o.star")
    assert "200.000000" in write_optics_star(groups, unknown, tmp_path / "o.star", voltage_kv=200).read_text()
    table = drawn.session.table.copy()
    table.loc[5:, "pixel_size_angstrom"] = 3.0
    with pytest.raises(ValueError, match="pixel_size_angstrom must be one number"):
        write_optics_star(groups, type(drawn.session)(drawn.session.folder, table), tmp_path / "o.star")


def relion_star(names):
    rows = "".join(f"MotionCorr/job002/Movies/000123_{name}_fractions.mrc            1  13.5\n" for name in names)
    particles = "".join(f"{i}@p.mrcs 'Movies/{name}-0009.mrc' 12.0\n" for i, name in enumerate(names))
    return (
        "\n# version 30001\n\ndata_optics\n\nloop_ \n_rlnOpticsGroupName #1 \n_rlnOpticsGroup #2 \n"
        "opticsGroup1            1 \n \n\n# version 30001\n\ndata_micrographs\n\nloop_ \n_rlnMicrographName #1 \n"
        f"_rlnOpticsGroup #2 \n_rlnAccumMotionTotal #3 \n{rows} \n\n# kept \n\ndata_particles\n\n"
        "loop_\n_rlnImageName #1\n"
        f"_rlnMicrographName #2\n_rlnCoordinateX #3\n{particles}\n"
    )


def test_cleaned_star_keeps_every_other_byte(found, tmp_path):
    starfile = pytest.importorskip("starfile")
    names = found.exposures["name"].tolist()
    for end in ("\n", "\r\n"):
        source, out = tmp_path / "in.star", tmp_path / "out.star"
        source.write_bytes(relion_star(names[:-1]).replace("\n", end).encode())
        cleaned = clean_star(source, found, out)
        bad = set(found.bad)
        expected = "".join(
            line
            for line in relion_star(names[:-1]).replace("\n", end).splitlines(keepends=True)
            if not any(name in line for name in bad)
        )
        assert out.read_bytes() == expected.encode()
        assert set(cleaned.not_in_it) == bad & {names[-1]}
        here = len(bad & set(names[:-1]))
        assert cleaned.table.to_numpy().tolist() == [
            ["data_micrographs", COUNT - 1, here],
            ["data_particles", COUNT - 1, here],
        ]
        assert cleaned.summary()["removed"] == 2 * here
    assert len(starfile.read(out)["micrographs"]) == COUNT - 1 - here


def test_cleaned_movies_by_plain_names(found, tmp_path):
    names = [f"m_{i}" for i in range(348)]
    plain = SimpleNamespace(bad=["m_1", "m_300"], exposures=pd.DataFrame({"name": names}))
    text = "data_\nloop_\n_rlnMicrographMovieName #1\nm_1.tiff\nm_12.tiff\nx/m_1_EER.eer\nm_1_2.tiff\nm_10\n"
    (tmp_path / "a.star").write_text(text[:-1])
    cleaned = clean_star(tmp_path / "a.star", plain, tmp_path / "b.star")
    assert (tmp_path / "b.star").read_text() == "data_\nloop_\n_rlnMicrographMovieName #1\nm_12.tiff\nm_10"
    assert (cleaned.table["removed"].tolist(), cleaned.not_in_it) == ([3], ("m_300",))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("data_\nloop_\n_rlnMicrographName #1\n_rlnDefocusU #2\na.mrc\n", r"in\.star line 5 must have 2 values"),
        ("data_\nloop_\n_rlnMicrographName #1\n;a\n;\n", r"line 4 must be a STAR file of one line a row; got ';a'"),
        ("data_\n_rlnMicrographName a.mrc\n", "line 2 must name micrographs in a table"),
        ("data_\nloop_\n_rlnVoltage #1\n300\n", "must have a table with rlnMicrographName or rlnMicrographMovieName"),
        ("", "must have a table"),
    ],
)
def test_star_that_cannot_be_cleaned(found, tmp_path, text, match):
    (tmp_path / "in.star").write_text(text)
    with pytest.raises(ValueError, match=match):
        clean_star(tmp_path / "in.star", found, tmp_path / "out.star")
    assert not (tmp_path / "out.star").exists()
    with pytest.raises(ValueError, match="out must be another file"):
        clean_star(tmp_path / "in.star", found, tmp_path / "x" / ".." / "in.star")


# ----------------------------------------------------------------------------------------------------------- montage


def texts_drawn(monkeypatch):
    drawn = []
    real = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, *rest: (drawn.append((at, text)), real(self, at, text, *rest))[1],
    )
    return drawn


def test_montage_shows_every_duplicate_whole(found, images, tmp_path, monkeypatch):
    drawn = texts_drawn(monkeypatch)
    path = save_montage(tmp_path / "d.png", found, images, tile_px=90)
    pixels = np.asarray(Image.open(path))
    words = " ".join(text for _, text in drawn).replace("_ ", "_")
    assert all(name in words for name in found.bad)
    assert words.count(" apart") == BAD
    assert "24 duplicates, radius 0.4275 um" in words
    assert "no image" not in words
    headings = [at for at, text in drawn if " apart" in text]
    assert len({y for _, y in headings}) == 6
    assert len({x for x, _ in headings}) == 4
    assert all(0 <= x < pixels.shape[1] and 0 <= y < pixels.shape[0] for (x, y), _ in drawn)


def test_montage_size_and_choices(found, images):
    tall = make_montage(found, images, tile_px=120)
    assert make_montage(found, images, tile_px=120, foil=False).shape[0] < 0.7 * tall.shape[0]
    halved = make_montage(found, images, tile_px=240, resize=True)
    np.testing.assert_array_equal(halved, tall)
    few = make_montage(found, images, tile_px=120, most_pairs=3, pairs_per_row=2)
    assert few.shape[0] < tall.shape[0] / 2
    assert few.shape[1] == pytest.approx(tall.shape[1] / 2, rel=0.1)


def test_montage_never_grows_over_its_bound(found, images, monkeypatch):
    monkeypatch.setattr("analysis.exposures._montage.MOST_PIXELS", 900_000)
    assert 400_000 < make_montage(found, images).size <= 900_000
    monkeypatch.setattr("analysis.exposures._montage.MOST_PIXELS", 200_000)
    drawn = texts_drawn(monkeypatch)
    assert make_montage(found, images).size <= 200_000
    assert any(text.startswith("The first ") and "of 24 duplicates" in text for _, text in drawn)


def test_montage_of_missing_and_damaged_pictures(drawn, tmp_path, monkeypatch):
    folder = tmp_path / "session"
    shutil.copytree(drawn.session.folder, folder)
    session = type(drawn.session)(folder, drawn.session.table)
    calibration = Fixed(drawn.matrix)
    found = find_duplicates(session, calibration)
    paths = [folder / file for file in found.exposures["file"][found.exposures["bad"]]]
    paths[0].with_suffix(".jpg").unlink()
    paths[1].with_suffix(".jpg").write_bytes(b"\xff\xd8\xff")
    texts = texts_drawn(monkeypatch)
    make_montage(found, find_images(session), tile_px=200)
    words = [text for _, text in texts]
    assert (words.count("no image"), words.count("image cannot be read")) == (1, 1)
    for picture in folder.rglob("*.jpg"):
        picture.unlink()
    with pytest.raises(ValueError, match=r"session must hold pictures for a montage; got none: neither \.jpg"):
        make_montage(found, find_images(session))
    with pytest.raises(ValueError, match="pairs_per_row must be at least 1; got 0"):
        make_montage(found, find_images(session), pairs_per_row=0)


def test_montage_without_duplicates(drawn, images, monkeypatch):
    texts = texts_drawn(monkeypatch)
    none = find_duplicates(drawn.session, Fixed(drawn.matrix), radius_um=1e-6)
    assert make_montage(none, images).shape[0] < 100
    assert [text for _, text in texts] == ["No duplicates, radius 1e-06 um"]
