"""Versions are registered once, by any number of people, and remember where their slides are."""

import csv
import json
import multiprocessing
import shutil

import pandas as pd
import pytest

from analysis.flatfield import _registry, find_slides
from analysis.flatfield._registry import check_version, read_model_table, register_model, registered_roots
from analysis.synthetic.flatfield import draw_cohort


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return draw_cohort(tmp_path_factory.mktemp("cohort"), shape=(6, 8, 2), sizes=(3, 2), outliers=0).roots


def register_from_another_process(arguments):
    root, number, table = arguments
    register_model(find_slides(root), f"v{number}", model_table=table)


def test_table_is_readable_by_the_original(roots, tmp_path):
    done = register_model(find_slides(roots).select("M1"), "v1.0", model_table=tmp_path / "models.csv")
    data = (tmp_path / "models.csv").read_bytes()
    assert data.startswith(b"version,Project,Cohort,BatchID,SlideID\r\nv1.0,1,1,1,M1_1\r\n")
    with open(tmp_path / "models.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["SlideID"] for row in rows] == ["M1_1", "M1_2", "M1_3"]
    assert all(int(row[name]) >= 1 for row in rows for name in ("Project", "Cohort", "BatchID"))
    assert done.summary()["slides"] == 3
    assert done.backup is None


def test_versions_are_appended_and_the_table_before_is_kept(roots, tmp_path):
    table = tmp_path / "models.csv"
    register_model(find_slides(roots[0]), "v1", model_table=table)
    before = table.read_bytes()
    done = register_model(find_slides(roots[1]), "v2", model_table=table)
    assert table.read_bytes().startswith(before)
    assert done.backup.read_bytes() == before
    assert done.backup.parent == tmp_path
    assert done.backup.match("models.2*Z.backup.csv")
    assert list(read_model_table(table)["version"]) == ["v1"] * 3 + ["v2"] * 2


def test_other_columns_and_odd_names_are_kept(roots, tmp_path):
    table = tmp_path / "models.csv"
    text = "\ufeffversion,Project,Cohort,BatchID,SlideID,note\r\n1.0,1,2,3,NA,=1+1\r\n001,1,2,3,007,\r\n"
    table.write_text(text, encoding="utf-8", newline="")
    register_model(find_slides(roots[1]), "v1", model_table=table)
    assert table.read_text(encoding="utf-8").splitlines()[1:3] == ["1.0,1,2,3,NA,=1+1", "001,1,2,3,007,"]
    found = read_model_table(table)
    assert list(found["SlideID"]) == ["NA", "007", "M2_1", "M2_2"]
    assert list(found["note"]) == ["=1+1", "", "", ""]
    assert found["Project"].dtype == "int64"


def test_existing_version_is_refused_with_its_slides(roots, tmp_path):
    table = tmp_path / "models.csv"
    register_model(find_slides(roots[0]), "v1", model_table=table)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"v1 is registered already, with 3 slides: M1_1, M1_2, M1_3.*replace=True"):
        register_model(find_slides(roots[1]), "v1", model_table=table)
    assert sorted(tmp_path.rglob("*")) == before


def test_replacing_a_version_leaves_the_others(roots, tmp_path):
    table = tmp_path / "models.csv"
    for version, root in (("v1", roots[0]), ("v10", roots[0]), ("v1.0", roots[0])):
        register_model(find_slides(root), version, model_table=table)
    done = register_model(find_slides(roots[1]), "v1", model_table=table, replace=True)
    counts = read_model_table(table)["version"].value_counts().to_dict()
    assert counts == {"v1": 2, "v10": 3, "v1.0": 3}
    assert done.replaced == ("M1_1", "M1_2", "M1_3")
    assert list(pd.read_csv(done.backup)["version"]) == ["v1"] * 3 + ["v10"] * 3 + ["v1.0"] * 3
    assert json.loads(done.event.read_text())["replaced"][0]["SlideID"] == "M1_1"


@pytest.mark.parametrize(
    "version", ["", ".", "..", "a/b", "a\\b", "../x", "v 1", "v1\n", "-v", "é", "v1.", "x" * 61, "<b>", None, 1]
)
def test_tags_that_are_no_names_are_refused(roots, tmp_path, version):
    with pytest.raises(ValueError, match="version must have 1 to 60 letters"):
        register_model(find_slides(roots[0]), version, model_table=tmp_path / "models.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["v1.1", "1", "V_2-liver", "_x", "x" * 60])
def test_tags_that_are_names(version):
    assert check_version(version) == version


def test_no_slides_are_refused(roots, tmp_path):
    with pytest.raises(ValueError, match="at least one slide; none is selected for v1"):
        register_model(find_slides(roots).select("nobody"), "v1", model_table=tmp_path / "models.csv")


def test_broken_table_is_refused_and_kept(roots, tmp_path):
    table = tmp_path / "models.csv"
    for text, words in (("version,Project\r\n", "must have the columns"), ("", "must have the columns")):
        table.write_text(text)
        with pytest.raises(ValueError, match=rf"models\.csv {words}"):
            register_model(find_slides(roots[0]), "v1", model_table=table)
        assert table.read_bytes() == text.encode()
    table.write_text("version,Project,Cohort,BatchID,SlideID\r\nv0,one,1,1,M\r\n")
    with pytest.raises(ValueError, match=r"models\.csv line 2, column Project must be a whole number; got 'one'"):
        register_model(find_slides(roots[0]), "v1", model_table=table)


def test_event_says_who_when_and_from_where(roots, tmp_path):
    slides = find_slides(roots).select("M1_[12]")
    done = register_model(slides, "v1", model_table=tmp_path / "models.csv")
    event = json.loads(done.event.read_text(encoding="utf-8"))
    assert done.event.parent == tmp_path / "models_events"
    assert event["version"] == "v1"
    assert event["who"]
    assert pd.Timestamp(event["when_utc"]).tzinfo is not None
    assert event["slides"][0] == {
        "SlideID": "M1_1", "Project": 1, "Cohort": 1, "BatchID": 1, "root_dir": str(roots[0]),
    }  # fmt: skip
    assert event["settings"]["slides"]["sample_regex"] == "M1_[12]"


def test_nameless_user_can_register(roots, tmp_path, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(_registry.getpass, "getuser", nobody)
    done = register_model(find_slides(roots[0]), "v1", model_table=tmp_path / "models.csv")
    assert json.loads(done.event.read_text())["who"] == "unknown"


def test_roots_are_remembered_for_the_registered_version_only(roots, tmp_path):
    table = tmp_path / "models.csv"
    register_model(find_slides(roots[0]), "v1", model_table=table)
    register_model(find_slides(roots[1]), "v1.5", model_table=table)
    assert registered_roots(table, "v1") == dict.fromkeys(("M1_1", "M1_2", "M1_3"), (roots[0],))
    register_model(find_slides(roots[1]), "v1", model_table=table, replace=True)
    assert registered_roots(table, "v1") == dict.fromkeys(("M2_1", "M2_2"), (roots[1],))
    assert registered_roots(table, "v1.5") == dict.fromkeys(("M2_1", "M2_2"), (roots[1],))
    assert registered_roots(table, "unknown") == {}


def test_one_slide_id_in_two_roots_remembers_both(roots, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(roots[0], copy)
    register_model(find_slides([roots[0], copy]).select("M1_1"), "v1", model_table=tmp_path / "models.csv")
    assert registered_roots(tmp_path / "models.csv", "v1") == {"M1_1": (roots[0], copy)}


def test_the_last_registration_of_the_same_slides_counts(roots, tmp_path):
    table, copy = tmp_path / "models.csv", tmp_path / "copy"
    shutil.copytree(roots[0], copy)
    register_model(find_slides(roots[0]), "v1", model_table=table)
    register_model(find_slides(copy), "v1", model_table=table, replace=True)
    assert registered_roots(table, "v1")["M1_2"] == (copy,)


def test_events_that_are_damaged_or_never_reached_the_table_are_passed_over(roots, tmp_path):
    table = tmp_path / "models.csv"
    done = register_model(find_slides(roots[0]), "v1", model_table=table)
    event = json.loads(done.event.read_text())
    event["slides"] = event["slides"][:1]
    (done.event.parent / "v1.9999-01-01.json").write_text(json.dumps(event))
    (done.event.parent / "v1.9999-01-02.json").write_text("{")
    (done.event.parent / "v1.9999-01-03.json").write_text("[]")
    assert set(registered_roots(table, "v1")) == {"M1_1", "M1_2", "M1_3"}


def test_table_that_cannot_be_written_leaves_no_event(roots, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_registry, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        register_model(find_slides(roots[0]), "v1", model_table=tmp_path / "models.csv")
    assert not list(tmp_path.rglob("*.json"))
    assert not (tmp_path / "models.csv").exists()


def test_backups_never_overwrite_one_another(roots, tmp_path, monkeypatch):
    stamps = iter(["a", "b", "b", "c", "c", "d", *map(str, range(9))])
    monkeypatch.setattr(_registry, "_time_stamp", lambda: next(stamps))
    table = tmp_path / "models.csv"
    for number in range(4):
        register_model(find_slides(roots[1]), f"v{number}", model_table=table)
    sizes = sorted(len(pd.read_csv(path)) for path in tmp_path.glob("models.*.backup.csv"))
    assert sizes == [2, 4, 6]


def test_eight_processes_registering_at_once_lose_nothing(roots, tmp_path):
    table = tmp_path / "models.csv"
    work = [(roots[number % 2], number, table) for number in range(16)]
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        pool.map(register_from_another_process, work, chunksize=1)
    found = read_model_table(table)
    assert found["version"].value_counts().to_dict() == {f"v{n}": 3 - n % 2 for n in range(16)}
    assert len(list((tmp_path / "models_events").glob("*.json"))) == 16
    assert len(list(tmp_path.glob("*.backup.csv"))) == 15
    assert not list(tmp_path.rglob("*.lock"))
    assert not list(tmp_path.rglob("*graticule-tmp"))
