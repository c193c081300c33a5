"""Slides are found, and whatever is wrong with one of them is said without stopping the others."""

import os
import tempfile

import numpy as np
import pytest

from analysis.flatfield import choose_layers, dividing_lines, find_slides, layer_sets, sort_slides
from analysis.flatfield._slide_files import write_slide_xml
from analysis.synthetic.flatfield import draw_cohort


@pytest.fixture
def roots(tmp_path):
    return draw_cohort(tmp_path, seed=1, shape=(12, 16, 4), sizes=(3, 2), outliers=0).roots


def problem_of(slides, slide_id):
    rows = slides.problems[slides.problems["slide_id"] == slide_id]
    assert len(rows) == 1, slides.problems
    return rows.iloc[0]


def others_are_there(slides, missing=1):
    assert len(slides) == 5 - missing


def test_finds_all_with_their_shape_and_groups(roots):
    slides = find_slides(roots)
    assert [slide.slide_id for slide in slides.slides] == ["M1_1", "M1_2", "M1_3", "M2_1", "M2_2"]
    assert {slide.shape for slide in slides.slides} == {(12, 16, 4)}
    assert slides.slides[0].filter_groups == ("DAPI", "FITC", "Cy3", "Texas Red")
    assert slides.problems.empty
    assert slides.summary() == {"slides": 5, "roots": 2, "problems": 0}


def test_one_folder_under_two_spellings_is_one_root(roots, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(roots[0])
    monkeypatch.chdir(tmp_path)
    assert len(find_slides([roots[0], "project1", tmp_path / "project2" / ".." / "project1", link])) == 3


def test_one_slide_id_in_two_roots_is_two_slides(tmp_path):
    first = draw_cohort(tmp_path / "a", shape=(8, 8, 2), sizes=(1,), outliers=0).roots
    second = draw_cohort(tmp_path / "b", shape=(8, 8, 2), sizes=(1,), outliers=0).roots
    moved = second[0].rename(tmp_path / "b" / "other")
    slides = find_slides([*first, moved])
    assert slides.labels == ("M1_1 (project1)", "M1_1 (other)")


@pytest.mark.parametrize("name", ["mean_image", "std_err_of_mean_image", "mask_stack"])
def test_missing_and_truncated_files_are_listed(roots, name):
    folder = roots[0] / "M1_2" / "im3" / "meanimage"
    path = folder / f"M1_2-{name}.bin"
    data = path.read_bytes()
    path.write_bytes(data[:-8])
    row = problem_of(find_slides(roots), "M1_2")
    assert row["file"] == str(path) and row["reason"] == "truncated"
    assert "6144 bytes" in row["expected"] and row["found"] == "6136 bytes"
    path.write_bytes(data + b"12345678")
    assert problem_of(find_slides(roots), "M1_2")["reason"] == "wrong size"
    path.unlink()
    slides = find_slides(roots)
    assert "No such file" in problem_of(slides, "M1_2")["found"]
    others_are_there(slides)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<IM3Fragment><D name=", "unreadable XML"),
        ("", "unreadable XML"),
        ("<a><D name='Other'>1</D></a>", "no image shape"),
        ("<a><D name='Shape'>16 twelve 4</D></a>", "no image shape"),
        ("<a><D name='Shape'>16 12</D></a>", "no image shape"),
        ('<!DOCTYPE a [<!ENTITY b "bb">]><a><D name="Shape">&b;</D></a>', "refused"),
    ],
)
def test_bad_parameters_xml_is_listed(roots, text, reason):
    (roots[0] / "M1_1" / "im3" / "xml" / "M1_1.Parameters.xml").write_text(text)
    slides = find_slides(roots)
    row = problem_of(slides, "M1_1")
    assert row["file"].endswith("M1_1.Parameters.xml") and reason in row["reason"]
    others_are_there(slides)


def test_entity_bomb_is_refused_at_once(roots):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><a><D name="Shape">&l9;</D></a>'
    (roots[0] / "M1_1" / "im3" / "xml" / "M1_1.Parameters.xml").write_text(bomb)
    slides = find_slides(roots)
    assert problem_of(slides, "M1_1")["file"].endswith("M1_1.Parameters.xml")
    others_are_there(slides)


def test_xml_beside_the_slide_is_read_too(roots):
    inside = roots[0] / "M1_1" / "im3" / "xml" / "M1_1.Parameters.xml"
    inside.rename(roots[0] / "M1_1" / "M1_1.Parameters.xml")
    assert find_slides(roots).problems.empty


@pytest.mark.parametrize(
    ("name", "nm", "group"),
    [
        ("DAPI / Opal 780", 690, "DAPI"),
        ("DAPI / Opal 780", 700, "Opal780"),
        ("Opal 480 / Cy5", 590, "Opal480"),
        ("Opal 480 / Cy5", 600, "Cy5"),
        ("Texas Red", 620, "Texas Red"),
    ],
)
def test_shared_filters_are_split_by_wavelength(roots, name, nm, group):
    write_slide_xml(roots[0] / "M1_1" / "im3" / "xml", "M1_1", (12, 16, 4), [(name, nm)] * 4)
    assert find_slides(roots[:1]).slides[0].filter_groups == (group,) * 4


def test_wrong_number_of_filters_is_listed(roots):
    write_slide_xml(roots[0] / "M1_1" / "im3" / "xml", "M1_1", (12, 16, 4), [("DAPI", 440)] * 3)
    assert "3 wavelengths and 3 filters" in problem_of(find_slides(roots), "M1_1")["found"]


@pytest.mark.parametrize(
    ("content", "reason", "found"),
    [
        (b"SampleID,SlideID\r\n1,M1_1\r\n", "wrong table", "Project, Cohort, BatchID not found"),
        (b"", "wrong table", "the file is empty"),
        (b"SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood\r\n", "empty table", "no lines"),
        (b"SlideID,Project,Cohort,BatchID\r\nM1_1,one,1,1\r\n", "wrong table", "line 2, column Project"),
        (b"SlideID,Project,Cohort,BatchID\r\nM1_1,1\r\nM1_2,1,1,1\r\n", "wrong table", "line 2 must have 4 values"),
        (b"\xff\xfeSlideID", "wrong table", "UTF-8"),
        (b"SlideID,Project,Cohort,BatchID\r\nM1_1,99999999999999999999,1,1\r\n", "wrong table", "column Project"),
        (b"SlideID,Project,Project,Cohort,BatchID\r\nM1_1,1,1,1,1\r\n", "wrong table", "Project stands there more"),
        (b"SlideID,Project,Cohort,BatchID\r\n" + 200_000 * b"x" + b",1,1,1\r\n", "wrong table", "field larger than"),
    ],
)
def test_bad_sampledef_is_one_problem_of_its_root(roots, content, reason, found):
    (roots[0] / "sampledef.csv").write_bytes(content)
    slides = find_slides(roots)
    row = problem_of(slides, "")
    assert row["reason"] == reason and found in row["found"] and row["file"].endswith("sampledef.csv")
    others_are_there(slides, missing=3)


def test_sampledef_with_byte_order_mark_and_odd_names(roots):
    table = roots[1] / "sampledef.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"M2_1", b"NA").replace(b"M2_2", b"001"))
    (roots[1] / "M2_1").rename(roots[1] / "NA")
    rows = find_slides(roots[1:]).problems
    assert set(rows["slide_id"]) == {"NA", "001"}  # the names survive; their files carry the old ones


def test_slide_that_is_not_good_or_has_no_folder(roots):
    table = roots[0] / "sampledef.csv"
    table.write_text(table.read_text().replace("1,M1_1,1,1,1,1,1", "1,M1_1,1,1,1,1,0") + "9,M1_9,1,1,1,1,1\n")
    slides = find_slides(roots)
    assert problem_of(slides, "M1_1")["reason"] == "marked as not good"
    assert problem_of(slides, "M1_9")["reason"] == "missing"


@pytest.mark.parametrize("name", ["..", "a/b", "..\\x", ""])
def test_slide_id_that_leads_out_of_the_root_is_refused(roots, name):
    table = roots[0] / "sampledef.csv"
    table.write_text(table.read_text().replace("M1_1", name))
    assert "not a slide ID" in set(find_slides(roots).problems["reason"])


def test_root_that_is_not_there(roots, tmp_path):
    slides = find_slides([tmp_path / "nowhere", *roots])
    assert "No such file" in problem_of(slides, "")["found"]
    others_are_there(slides, missing=0)


@pytest.fixture
def ordinary_person():
    """Become a user whom permissions bind, when the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield folder


def test_folder_without_permission_is_listed(open_folder, request):
    roots = draw_cohort(open_folder, shape=(12, 16, 4), sizes=(3, 2), outliers=0).roots
    folder = roots[0] / "M1_1" / "im3"
    folder.chmod(0)
    request.getfixturevalue("ordinary_person")
    slides = find_slides(roots)
    os.seteuid(os.getuid())
    folder.chmod(0o755)
    assert "ermission" in problem_of(slides, "M1_1")["found"]
    others_are_there(slides)


def test_slide_id_holding_html_is_just_a_name(roots):
    name = "<img src=x onerror=alert(1)>"
    table = roots[0] / "sampledef.csv"
    table.write_text(table.read_text().replace("M1_1", name))
    row = problem_of(find_slides(roots), name)
    assert row["reason"] == "missing"


def test_other_folder_of_mean_images(tmp_path):
    roots = draw_cohort(
        tmp_path, shape=(8, 8, 2), sizes=(2,), outliers=0, meanimage_folder="meanimage_from_fw_files"
    ).roots
    assert len(find_slides(roots)) == 0
    assert len(find_slides(roots, meanimage_folder="meanimage_from_fw_files")) == 2


def test_layer_sets(tmp_path):
    for layers, brightest in ((35, (5, 11, 21, 29, 34)), (43, (5, 10, 16, 19, 22, 31, 41)), (5, (2, 4, 5))):
        roots = draw_cohort(tmp_path / str(layers), shape=(4, 5, layers), sizes=(1,), outliers=0).roots
        slide = find_slides(roots).slides[0]
        sets = layer_sets(slide)
        assert sets["all"] == tuple(range(1, layers + 1))
        if layers > 5:
            assert sets["brightest"] == brightest
        assert sum(len(v) for k, v in sets.items() if k not in ("all", "brightest")) == layers
    assert choose_layers(slide, "DAPI") == sets["DAPI"]
    assert choose_layers(slide, 3) == choose_layers(slide, "3") == (3,)
    for wrong in ("nothing", 0, 6, "6"):
        with pytest.raises(ValueError, match="layers must be one of all, brightest, DAPI"):
            choose_layers(slide, wrong)


def test_sorting_and_dividing_lines(roots):
    slides = find_slides(roots[::-1])
    order = sort_slides(slides)
    assert [slides.slides[i].slide_id for i in order] == ["M1_1", "M1_2", "M1_3", "M2_1", "M2_2"]
    assert dividing_lines(slides, order) == (1, 3, 4)  # M1_1 is batch 1, M1_2 and M1_3 batch 2, and so on
    assert dividing_lines(slides, order, lines="none") == ()
    assert dividing_lines(slides, order, lines_after=["M1_2", "M2_2"]) == (2,)
    with pytest.raises(ValueError, match="M7 not among them"):
        dividing_lines(slides, order, lines_after=["M7"])
    with pytest.raises(ValueError, match="sort_by must be"):
        sort_slides(slides, "colour")


def test_names_sort_with_numbers_as_numbers(tmp_path):
    roots = draw_cohort(tmp_path, shape=(4, 5, 2), sizes=(11,), outliers=0).roots
    slides = find_slides(roots)
    names = [slides.slides[i].slide_id for i in sort_slides(slides, "order")]
    assert names == [f"M1_{i}" for i in range(1, 12)]


def test_odd_names_and_filters(tmp_path):
    roots = draw_cohort(tmp_path, shape=(4, 5, 3), sizes=(1,), outliers=0).roots
    write_slide_xml(
        roots[0] / "M1_1" / "im3" / "xml", "M1_1", (4, 5, 3), [("all", 440), ("2", 450), ("brightest", 460)]
    )
    slide = find_slides(roots).slides[0]
    assert layer_sets(slide)["all"] == (1, 2, 3) and choose_layers(slide, 2) == (2,)
    assert choose_layers(slide, "all (filter)") == (1,)


def test_no_roots_and_empty_selection(roots):
    assert len(find_slides([])) == 0
    assert len(find_slides(roots).select("nothing like it")) == 0
    assert np.array_equal(sort_slides(find_slides([])), [])
