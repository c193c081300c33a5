"""EPU sessions are read as they were drawn, and whatever is wrong with a file stays with that file."""

import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.exposures import Session, parse_exposure, read_epu_session
from analysis.exposures._epu import convert, find_fields, parse_name, parse_session
from analysis.exposures._layout import Reader
from analysis.exposures._session import COLUMNS, NUMBERS, make_table, split_sentence
from analysis.synthetic.exposures import draw_exposures, draw_session
from analysis.tasks import Cancelled

SMALL = {"grid_squares": 2, "stage_positions": 2, "groups": 5, "shots": 2, "seed": 4}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_session(tmp_path_factory.mktemp("session"), **SMALL, re_exposed_holes=1)


@pytest.fixture(scope="module")
def text(drawn):
    return (drawn.session.folder / drawn.session.table["file"][3]).read_bytes()


@pytest.fixture
def folder(drawn, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(drawn.session.folder, tmp_path / "epu"))


def same_rows(first, second, but=("fingerprint",)):
    pd.testing.assert_frame_equal(first.drop(columns=list(but)), second.drop(columns=list(but)), rtol=1e-12)


def spoil(folder, row, data):
    """Replace the bytes of one data file and return the row that tells about it."""
    before = read_epu_session(folder)
    path = folder / before.table["file"][row]
    path.write_bytes(data)
    after = read_epu_session(folder)
    wrong = after.table[after.table["file"] == before.table["file"][row]]
    assert len(wrong) == 1
    others = after.table[after.table["file"] != before.table["file"][row]]
    same_rows(others.reset_index(drop=True), before.table.drop(index=row).reset_index(drop=True), but=())
    return wrong.iloc[0]


def opened(monkeypatch):
    """Return the list that the names of all data files opened from now on are added to."""
    names, real_open = [], os.open

    def counting(path, *args, **options):
        if "FoilHole_" in os.fspath(path):
            names.append(os.path.basename(path))
        return real_open(path, *args, **options)

    monkeypatch.setattr(os, "open", counting)
    return names


def test_a_session_is_read_as_it_was_drawn(drawn):
    found = read_epu_session(drawn.session.folder)
    assert list(found.table.columns) == list(COLUMNS)
    same_rows(found.table, drawn.session.table)
    pd.testing.assert_frame_equal(found.sessions, drawn.session.sessions)
    assert (found.left_out, found.warnings, found.unread) == (0, (), ())
    assert found.hole_spacing_um == pytest.approx(2.5)
    size, time = found.table["fingerprint"][0].split("-")
    status = (found.folder / found.table["file"][0]).stat()
    assert (int(size), int(time)) == (status.st_size, status.st_mtime_ns)
    assert found.summary()["exposures"] == len(drawn.truth) == len(found.exposures)
    assert found.summary()["foil_holes"] == 21


@pytest.mark.parametrize(
    "below", ["Images-Disc1", "Images-Disc1/GridSquare_5324707", "Images-Disc1/GridSquare_5324707/Data"]
)
def test_a_part_of_a_session_knows_its_squares_and_its_spacing(drawn, below):
    found = read_epu_session(drawn.session.folder / below)
    assert set(found.table["session"]) == {""}
    assert "5324707" in set(found.table["grid_square"])
    assert found.hole_spacing_um == pytest.approx(2.5)


@pytest.mark.reference
def test_values_of_a_microscope_are_those_another_reader_found(real_epu, reference):
    found = read_epu_session(real_epu)
    truth = pd.read_csv(reference / "exposures" / "real" / "exposures.csv", dtype={"gridsquare": str, "foilhole": str})
    truth = truth.set_index("name").loc[found.table["name"]].reset_index()
    assert (len(found), found.left_out, found.problems.empty) == (189, 189, True)
    names = {
        "stage_x_m": ("stage_x_um", 1e6), "stage_y_m": ("stage_y_um", 1e6), "stage_z_m": ("stage_z_um", 1e6),
        "stage_a_rad": ("stage_alpha_deg", 180 / np.pi), "stage_b": ("stage_beta_deg", 180 / np.pi),
        "beamshift_x": ("beam_shift_x", 1), "beamshift_y": ("beam_shift_y", 1), "imageshift_x": ("image_shift_x", 1),
        "imageshift_y": ("image_shift_y", 1), "beamtilt_x": ("beam_tilt_x", 1), "beamtilt_y": ("beam_tilt_y", 1),
        "beam_diameter_m": ("beam_diameter_um", 1e6), "defocus_m": ("defocus_um", 1e6),
        "applied_defocus_m": ("applied_defocus_um", 1e6), "dose_e_per_m2": ("dose_e_per_a2", 1e-20),
        "dose_on_camera": ("dose_on_camera_e_per_px", 1), "pixel_m": ("pixel_size_angstrom", 1e10),
        "exposure_s": ("exposure_time_s", 1), "mag": ("magnification", 1), "m11": ("image_xx_um", 1e6),
        "m12": ("image_xy_um", 1e6), "m21": ("image_yx_um", 1e6), "m22": ("image_yy_um", 1e6),
    }  # fmt: skip
    for theirs, (ours, factor) in names.items():
        np.testing.assert_allclose(found.table[ours], truth[theirs] * factor, rtol=1e-12, atol=0, err_msg=ours)
    for theirs, ours in {"gridsquare": "grid_square", "foilhole": "foil_hole", "sw": "software_version"}.items():
        assert found.table[ours].tolist() == truth[theirs].tolist()
    assert found.table["area"].tolist() == truth["area"].astype(str).tolist()
    assert (found.table["acquired"] == pd.to_datetime(truth["acq_time"], utc=True, format="ISO8601")).all()
    assert (found.table["named_time"].dt.strftime("%Y%m%d_%H%M%S") == truth["fname_time"]).all()
    assert set(found.table["field_width_px"]) == {4096.0}
    assert set(found.table["microscope"]) == {"TITAN52334290"}
    # a mirrored image has a negative determinant, and a pixel of the stage is a pixel of the image
    turn = found.table[["image_xx_um", "image_xy_um", "image_yx_um", "image_yy_um"]].to_numpy().reshape(-1, 2, 2)
    np.testing.assert_allclose(np.sqrt(np.abs(np.linalg.det(turn))), found.table["pixel_size_angstrom"] * 1e-4)


def test_binning_makes_the_image_matrix_one_of_image_pixels(text):
    assert b"<a:x>1</a:x><a:y>1</a:y></Binning>" in text
    binned = parse_exposure(text.replace(b"<a:x>1</a:x><a:y>1</a:y></Binning>", b"<a:x>2</a:x><a:y>2</a:y></Binning>"))
    plain = parse_exposure(text)
    assert binned["image_xx_um"] == 2 * plain["image_xx_um"]
    assert binned["field_width_px"] == plain["field_width_px"]


def test_prefixes_do_not_matter_and_namespaces_do(text):
    plain = parse_exposure(text)
    other = text.replace(b"xmlns:a=", b"xmlns:qq=").replace(b"<a:", b"<qq:").replace(b"</a:", b"</qq:")
    assert other != text
    assert parse_exposure(other) == plain
    with pytest.raises(
        ValueError, match="no beam shift: must have a number at microscopeData/optics/BeamShift/_x; got no"
    ):
        parse_exposure(text.replace(b"Fei.Types", b"Fei.Other"))


def test_custom_values_are_found_by_their_keys(text):
    start, end = text.index(b"<a:KeyValue"), text.index(b"</CustomData>")
    entries = text[start:end].split(b"</a:KeyValueOfstringanyType>")[:-1]
    turned = b"".join(entry + b"</a:KeyValueOfstringanyType>" for entry in entries[::-1])
    assert parse_exposure(text[:start] + turned + text[end:]) == parse_exposure(text)
    without = parse_exposure(text[:start] + text[end:])
    assert np.isnan(without["dose_e_per_a2"])
    assert np.isnan(without["applied_defocus_um"])


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        (b"<BeamDiameter>", b"<Other>", "beam_diameter_um"),
        (b"<NominalMagnification>", b"<Other>", "magnification"),
        (b"<ExposureTime>", b"<Other>", "exposure_time_s"),
        (b"<AccelerationVoltage>", b"<Other>", "voltage_kv"),
    ],
)
def test_what_a_file_does_not_say_is_nan(text, before, after, field):
    spoilt = text.replace(before, after).replace(before.replace(b"<", b"</"), after.replace(b"<", b"</"))
    assert np.isnan(parse_exposure(spoilt)[field])


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2020-02-06T17:06:46.7628367+01:00", "2020-02-06T16:06:46.7628367"),
        ("2020-02-06T17:06:46.76-03:30", "2020-02-06T20:36:46.76"),
        ("2020-02-06T17:06:46Z", "2020-02-06T17:06:46"),
        ("1969-12-31T23:59:59.5+00:00", "1969-12-31T23:59:59.5"),
        ("2020-03-01T00:30:00.0000001+02:00", "2020-02-29T22:30:00.0000001"),
    ],
)
def test_times_are_utc_to_the_last_digit(text, written, seconds):
    start, end = text.index(b"<acquisitionDateTime>") + 21, text.index(b"</acquisitionDateTime>")
    found = parse_exposure(text[:start] + written.encode() + text[end:])
    assert found["acquired"] == np.datetime64(seconds, "ns").astype(np.int64)


def test_names_are_taken_apart():
    found = parse_name("FoilHole_9015883_Data_9017347_6_20250108_154915")
    assert found["named_time"] == np.datetime64("2025-01-08T15:49:15")
    assert (found["foil_hole"], found["area"], found["acquisition"]) == ("9015883", "9017347", "6")
    assert np.isnat(parse_name("FoilHole_1_Data_2_3_20251399_000000")["named_time"])
    for wrong in ("FoilHole_1_Data_2_3_20250108_154915_Fractions", "FoilHole_1_20250108_154915", ""):
        with pytest.raises(ValueError, match="name of another kind: must be"):
            parse_name(wrong)


WRONG = {
    "empty": (lambda text: b"", "empty file: must be the XML of an exposure of EPU; got 0 bytes"),
    "blank": (lambda text: b" \n ", "empty file"),
    "truncated": (
        lambda text: text[:1500],
        "unreadable XML: must be whole, EPU may still be writing it; got 1500 bytes",
    ),
    "cut in a tag": (lambda text: text[:-3], "unreadable XML"),
    "zeros": (lambda text: bytes(3000), "unreadable XML"),
    "other XML": (lambda text: b"<Acquisition><Info/></Acquisition>", "must have the root MicroscopeImage .*; got Acq"),
    "other namespace": (
        lambda text: text.replace(b"Fei.SharedObjects", b"Elsewhere", 1),
        "got MicroscopeImage of http",
    ),
    "not XML": (lambda text: b"\x89PNG\r\n\x1a\n" + text, "unreadable XML"),
    "DOCTYPE": (lambda text: b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + text, "refused DOCTYPE"),
    "no beam shift": (lambda text: text.replace(b"BeamShift", b"BeamDrift"), "no beam shift: must have a number at"),
    "no stage": (
        lambda text: text.replace(b"<Position>", b"<P>").replace(b"</Position>", b"</P>"),
        "no stage position",
    ),
    "NaN": (
        lambda text: text.replace(b"<a:_x>", b"<a:_x>NaN<!--", 1).replace(b"</a:_x>", b"--></a:_x>", 1),
        "got 'NaN'",
    ),
    "infinite": (lambda text: text.replace(b"<X>", b"<X>INF").replace(b"INF-", b"INF<!---", 1), "unreadable|got 'INF"),
    "huge": (lambda text: text.replace(b"</X>", b"e999</X>"), "no stage position: .* got '-?[0-9.]+e999"),
    "words": (
        lambda text: text.replace(b"<BeamDiameter>", b"<BeamDiameter>wide "),
        "no beam diameter: must .* got 'wide",
    ),
    "no time": (lambda text: text.replace(b"acquisitionDateTime>", b"when>"), "no time: must .* got nothing"),
    "no date": (
        lambda text: text.replace(b"<acquisitionDateTime>2024-03", b"<acquisitionDateTime>2024-13"),
        "got '2024-13",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_a_row_that_says_why(folder, text, kind):
    make, sentence = WRONG[kind]
    with pytest.raises(ValueError, match=sentence):
        parse_exposure(make(text))
    row = spoil(folder, 7, make(text))
    assert row["error"].endswith(".")
    assert row[list(NUMBERS)].isna().all()
    assert pd.isna(row["acquired"])
    assert row["foil_hole"]
    session = read_epu_session(folder)
    assert len(session.exposures) == len(session) - 1
    assert session.sessions["unreadable"].tolist() == [1]
    problem = session.problems.iloc[0]
    assert problem["file"] == row["file"]
    assert problem["expected"] and problem["found"] and problem["reason"]


def test_entities_are_refused_before_they_grow(text, folder):
    lines = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "lol">{lines}]>'.encode()
    bomb += text.replace(b"<name>Empty", b"<name>&e11;")
    assert "refused DOCTYPE" in spoil(folder, 2, bomb)["error"]
    outside = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + text.replace(b"<name>Empty", b"<name>&e;")
    assert "refused DOCTYPE" in spoil(folder, 2, outside)["error"]
    # in an encoding of two bytes the word is hidden from a search
    assert "unreadable XML" in spoil(folder, 2, outside.decode().encode("utf-16"))["error"]
    assert "unreadable XML" in spoil(folder, 2, text.replace(b"<name>Empty", b"<name>&unknown;"))["error"]


def test_a_huge_file_is_not_read(folder, text):
    assert "too large: must be" in spoil(folder, 0, text + b" " * 9_000_000)["error"]


def test_one_bad_file_among_300_changes_no_other(tmp_path):
    drawn = draw_session(tmp_path, grid_squares=3, stage_positions=4, groups=9, shots=3, seed=5)
    assert len(drawn.session) == 324
    whole = (tmp_path / drawn.session.table["file"][100]).read_bytes()
    row = spoil(tmp_path, 100, whole[: len(whole) // 2])
    assert row["name"] == drawn.session.table["name"][100]


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_with_a_sentence(data):
    with pytest.raises(ValueError, match="must"):
        parse_exposure(data)
    with pytest.raises(ValueError, match="must"):
        parse_session(data)


def judged(read, data):
    """Return the values, or the sentence of the refusal; NaN as text, so that equal means equal."""
    try:
        return repr(read(data))
    except ValueError as error:
        return str(error)


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_quick_way_finds_what_lxml_finds(text, data):
    reader = Reader()
    for _ in range(4):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        piece = data.draw(
            st.binary(max_size=12) | st.sampled_from([b"NaN", b"&amp;", b"1e999", b"", b"<!-- -->", b">", b" 7 "])
        )
        changed = text[:at] + piece + text[at + length :]
        assert judged(reader.read, changed) == judged(lambda d: convert(find_fields(d)), changed)
        reader.read(text)
    assert judged(reader.read, text) == judged(lambda d: convert(find_fields(d)), text)


ODD = (
    b"&amp;",
    b"&#49;",
    b"&bad;",
    b"1_0",
    b"\xc3\xa9",
    b"\xff",
    b"\x01",
    b"]]>",
    b">",
    b" ",
    b"\n",
    b"",
    b"NaN",
    b"1e999",
)


@pytest.mark.parametrize("field", [b"uniqueID", b"X", b"a:_x", b"acquisitionDateTime", b"InstrumentModel", b"Defocus"])
def test_odd_values_go_to_lxml(text, field):
    reader = Reader()
    for learnt in (text, text.replace(b"</uniqueID>", b"7</uniqueID>"), text.replace(b"SYNTHETIC", b"ANOTHER")):
        reader.read(learnt)
        reader.read(learnt.replace(b"<Defocus>", b"<Defocus>1").replace(b"1-", b"-1"))
    start = text.index(b"<" + field + b">") + len(field) + 2
    end = text.index(b"<", start)
    for odd in ODD:
        for changed in (text[:start] + odd + text[start:], text[:start] + odd + text[end:]):
            assert judged(reader.read, changed) == judged(lambda d: convert(find_fields(d)), changed)


def test_cdata_and_comments_are_no_places_for_values(text):
    start = text.index(b"<X>") + 3
    end = text.index(b"</X>")
    for value in (b"<![CDATA[5]]>", b"1<!-- 2 -->", b"<!-- > -->3"):
        reader = Reader()
        first = text[:start] + value + text[end:]
        for changed in (first, first.replace(b"<Y>", b"<Y>1").replace(b"<Y>1-", b"<Y>-1"), text):
            assert judged(reader.read, changed) == judged(lambda d: convert(find_fields(d)), changed)


def test_the_first_of_two_counts(text):
    again = text.replace(b"</microscopeData>", b"<stage><Position><X>1</X></Position></stage></microscopeData>")
    assert parse_exposure(again) == parse_exposure(text)


def test_a_file_that_vanishes_meanwhile_is_no_row(folder, drawn):
    gone = folder / drawn.session.table["file"][4]
    found = read_epu_session(folder, progress=lambda *words: gone.unlink(missing_ok=True))
    assert len(found) == 41
    assert found.problems.empty


@pytest.mark.parametrize("pretty", [False, True])
def test_the_quick_way_is_taken(drawn, monkeypatch, pretty):
    from lxml import etree

    from analysis.exposures import _layout

    calls = []
    monkeypatch.setattr(_layout, "find_fields", lambda data: calls.append(1) or find_fields(data))
    reader = Reader()
    for file in drawn.session.table["file"]:
        data = (drawn.session.folder / file).read_bytes()
        if pretty:
            data = etree.tostring(etree.fromstring(data), pretty_print=True)
        before = len(calls)
        assert reader.read(data) == convert(find_fields(data))
    assert len(calls) == before < 30


def test_nothing_is_opened_twice(folder, monkeypatch):
    names = opened(monkeypatch)
    first = read_epu_session(folder)
    assert Counter(names) == Counter(f"{name}.xml" for name in first.table["name"])
    names.clear()
    second = read_epu_session(folder, known=first)
    assert names == []
    same_rows(second.table, first.table, but=())
    changed = folder / first.table["file"][3]
    os.utime(changed, ns=(1, 1))
    (folder / first.table["file"][5]).unlink()
    third = read_epu_session(folder, known=second)
    assert names == [changed.name]
    same_rows(third.table, first.table.drop(index=5).reset_index(drop=True))


def test_what_is_known_of_another_folder_is_not_used(folder, drawn, monkeypatch):
    other = read_epu_session(drawn.session.folder)
    names = opened(monkeypatch)
    read_epu_session(folder, known=other)
    assert len(names) == len(other)


def test_look_alikes_are_left_out(folder, text):
    data = next(folder.glob("Images-Disc1/*/Data"))
    name = next(data.glob("*.xml")).stem
    (data / f"{name}_Fractions.xml").write_bytes(b"<Acquisition/>")
    (data / "FoilHole_1_Data_2_3_20250101.xml").write_bytes(text)
    (data / f"{name}.jpg").write_bytes(b"")
    (data / "FoilHole_1_Data_2_3_20250101_000000.xml").mkdir()
    found = read_epu_session(folder)
    assert found.left_out == 2
    assert len(found) == 42


def test_two_sessions_in_a_folder_are_told_apart(drawn, tmp_path):
    shutil.copytree(drawn.session.folder, tmp_path / "a")
    draw_session(tmp_path / "b" / "c", grid_squares=1, stage_positions=1, groups=3, shots=1, hole_spacing_um=4, seed=2)
    found = read_epu_session(tmp_path)
    assert found.sessions["session"].tolist() == ["a", "b/c"]
    assert found.sessions["exposures"].tolist() == [len(drawn.session), 3]
    assert found.hole_spacing_um is None
    assert "2 sessions are in this folder (a, b/c)" in found.warnings[0]


def test_copies_are_kept_and_said(drawn, tmp_path):
    shutil.copytree(drawn.session.folder / "Images-Disc1", tmp_path / "Images-Disc1")
    file = drawn.session.table["file"][0]
    copy = tmp_path / "Images-Disc1" / "copies"
    copy.mkdir()
    shutil.copy(tmp_path / file, copy)
    found = read_epu_session(tmp_path)
    assert len(found) == len(drawn.session) + 1
    assert found.table["name"].duplicated().sum() == 1
    assert "1 names occur more than once" in found.warnings[0]


def test_links_lead_to_files_once(drawn, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Images-Disc1").symlink_to(drawn.session.folder / "Images-Disc1")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(drawn.session.folder / "Images-Disc1")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "missing")
    assert len(read_epu_session(tmp_path / "in")) == len(drawn.session)


def test_a_folder_whose_name_no_table_can_hold_is_said(folder):
    strange = os.fsencode(folder) + b"/Images-Disc1/\xff"
    try:
        os.mkdir(strange)
    except OSError:
        pytest.skip("this file system has no such names")
    shutil.copy(next(folder.glob("Images-Disc1/*/Data/*.xml")), os.fsdecode(strange))
    found = read_epu_session(folder)
    assert len(found) == 42
    assert found.problems["reason"].tolist() == ["cannot be named"]
    found.problems.to_csv()


def test_folders_without_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"folder must be the folder of an EPU session; got .*missing, nothing there"):
        read_epu_session(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"folder must hold data files of EPU .* with no file\."):
        read_epu_session(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"with 1 other files, such as notes\.txt"):
        read_epu_session(tmp_path)
    with pytest.raises(ValueError, match="a file"):
        read_epu_session(tmp_path / "notes.txt")


def test_what_may_not_be_read_is_said(folder):
    before = read_epu_session(folder)
    file = folder / before.table["file"][0]
    square = folder / "Images-Disc1" / "GridSquare_5324707"
    file.chmod(0)
    square.chmod(0)
    try:
        if os.access(file, os.R_OK):
            pytest.skip("this user may read everything")
        found = read_epu_session(folder)
    finally:
        file.chmod(0o644)
        square.chmod(0o755)
    assert (
        found.table["error"][found.table["file"] == before.table["file"][0]]
        .iloc[0]
        .startswith("cannot be read: must be")
    )
    assert found.unread[0][0] == "Images-Disc1/GridSquare_5324707"
    assert found.problems["reason"].tolist() == ["cannot be looked into", "cannot be read"]
    assert set(found.table["grid_square"]) == {"5324661"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_with_the_name_of_a_data_file_is_no_data_file(folder):
    os.mkfifo(folder / "FoilHole_1_Data_2_3_20250101_000000.xml")
    assert read_epu_session(folder).left_out == 1


def test_a_spoilt_session_file_is_said_and_the_rest_is_done(folder):
    (folder / "EpuSession.dm").write_bytes(b"<EpuSessionXml/>")
    found = read_epu_session(folder)
    assert found.hole_spacing_um is None
    assert "EpuSession.dm of epu is not used. another kind of XML: must have the root" in found.warnings[0]
    (folder / "EpuSession.dm").unlink()
    assert read_epu_session(folder).warnings == ()


def test_spacing_of_a_session_file():
    lengths = "<HoleSize>{}</HoleSize><HoleSpacing>{}</HoleSpacing>"
    sample = f"<SampleXml><FilterHolesSettings>{lengths}</FilterHolesSettings></SampleXml>"
    space = "http://schemas.datacontract.org/2004/07/Applications.Epu.Persistence"
    mode = "<ClusteringMode>NoClustering</ClusteringMode>"
    root = f'<EpuSessionXml xmlns="{space}">{mode}<Samples><_items>%s</_items></Samples></EpuSessionXml>'
    found = parse_session((root % (sample.format("NaN", "0") + sample.format("1.3E-06", "2.65E-06"))).encode())
    assert found == pytest.approx({"hole_spacing_um": 2.65, "hole_size_um": 1.3, "clustering_mode": "NoClustering"})
    assert np.isnan(parse_session((root % "<SampleXml/>").encode())["hole_spacing_um"])


def test_cancel_and_progress(folder):
    told = []
    read_epu_session(folder, progress=lambda *words: told.append(words))
    assert told[0][:2] == (0, 42) and told[-1][:2] == (42, 42)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        read_epu_session(folder, cancel=cancel)


def test_a_session_can_be_made_of_a_table_alone():
    session = Session(
        folder=Path(), table=make_table({"name": ["b", "a"], "acquired": [2, 1], "stage_x_um": [1.0, np.nan]})
    )
    assert session.exposures.empty
    assert session.hole_spacing_um is None
    assert session.problems.empty
    assert split_sentence("something else") == ("", "something else", "cannot be used")
    drawn = draw_exposures(**SMALL).session
    assert drawn.exposures["name"].tolist() == drawn.table["name"].tolist()
