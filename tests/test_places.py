"""Folders that visitors may have read and written: what is in them, and every way out that is known."""

import os
from pathlib import Path

import pytest

from dashboards.support.command import main
from dashboards.support.places import Places, Refused, check_places, make_places, places


@pytest.fixture
def tree(tmp_path):
    """Two folders of data, one for output, and what lies outside, with links that lead there."""
    for name in ("data/sub", "more", "output/done", "data_evil", "output_evil", "outside"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/a.tif", "data/sub/b.tif", "more/c.tif", "output/done/d.csv", "data_evil/e.tif", "outside/f.tif"):
        (tmp_path / name).write_text(name)
    for place in ("data", "output"):
        (tmp_path / place / "link_to_folder").symlink_to(tmp_path / "outside")
        (tmp_path / place / "link_to_file").symlink_to(tmp_path / "outside" / "f.tif")
        (tmp_path / place / "link_to_nothing").symlink_to(tmp_path / "outside" / "new")
        (tmp_path / place / "circle").symlink_to(tmp_path / place / "circle")
    (tmp_path / "data" / "link_within").symlink_to(tmp_path / "data" / "sub")
    (tmp_path / "data" / "link_to_more").symlink_to(tmp_path / "more" / "c.tif")
    return tmp_path


@pytest.fixture
def allowed(tree):
    return make_places(data=[tree / "data", tree / "more"], output=tree / "output")


def attacks(tree: Path, inside: str) -> dict[str, str]:
    """Paths that lead out of a folder of the tree, by what they try."""
    return {
        "elsewhere": str(tree / "outside" / "f.tif"),
        "elsewhere and not there": str(tree / "outside" / "none.tif"),
        "root of all": "/",
        "system": "/etc/passwd",
        "up": f"{tree / inside}/../outside/f.tif",
        "up and back": f"{tree / inside}/../{inside}/sub",
        "relative and up": "../outside/f.tif",
        "up in the middle": "sub/../../outside",
        "folder above": str(tree),
        "same beginning": str(tree / f"{inside}_evil"),
        "same beginning, file": str(tree / f"{inside}_evil" / "e.tif"),
        "linked folder": str(tree / inside / "link_to_folder"),
        "file in a linked folder": str(tree / inside / "link_to_folder" / "f.tif"),
        "new file in a linked folder": str(tree / inside / "link_to_folder" / "new.tif"),
        "linked file": str(tree / inside / "link_to_file"),
        "link to what is not there": str(tree / inside / "link_to_nothing"),
        "links in a circle": str(tree / inside / "circle"),
        "relative linked folder": "link_to_folder/f.tif",
        "NUL": f"{tree / inside}\0/sub",
        "NUL at the end": f"{tree / inside / 'sub'}\0.tif",
        "new line": f"{tree / inside}\n{tree}/outside",
        "home": "~",
        "home's file": "~/x.tif",
        "somebody's home": "~root/x.tif",
        "address": "file:///etc/passwd",
        "two slashes": "//etc/passwd",
        "process": "/proc/self/environ",
    }


NAMES = list(attacks(Path("/t"), "data"))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "address"])
def test_reading_is_refused(allowed, tree, name):
    with pytest.raises(Refused) as refused:
        allowed.to_read(attacks(tree, "data")[name])
    assert str(refused.value).endswith(".") and "\0" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "address"])
def test_writing_is_refused(allowed, tree, name):
    with pytest.raises(Refused):
        allowed.to_write(attacks(tree, "output")[name])
    with pytest.raises(Refused):
        allowed.to_work_in(attacks(tree, "output")[name])


def test_an_address_is_a_name_below_the_folders(allowed, tree):
    assert allowed.to_read("file:///etc/passwd").is_relative_to(tree / "output")
    assert allowed.to_write("file:///etc/passwd") == tree / "output" / "file:" / "etc" / "passwd"


def test_what_is_outside_is_not_told_from_what_is_not_there(allowed, tree):
    said = []
    for name in ("f.tif", "none.tif"):
        with pytest.raises(Refused) as refused:
            allowed.to_read(tree / "outside" / name)
        said.append(str(refused.value).replace(name, "X"))
    assert said[0] == said[1]
    with pytest.raises(
        Refused, match=r"is not in a folder that this server reads; it must be in .*data, .*more or .*output"
    ):
        allowed.to_read("/etc/shadow")


def test_what_is_inside_is_read(allowed, tree):
    for path in ("data", "data/a.tif", "data/sub/b.tif", "data/none.tif", "more/c.tif", "output/done/d.csv"):
        assert allowed.to_read(tree / path) == tree / path
        assert allowed.to_read(str(tree / path)) == tree / path
    assert allowed.to_read(tree / "data" / "link_within" / "b.tif") == tree / "data" / "sub" / "b.tif"
    assert allowed.to_read(tree / "data" / "link_to_more") == tree / "more" / "c.tif"


def test_a_relative_path_is_looked_for_in_one_folder_after_the_other(allowed, tree, monkeypatch):
    monkeypatch.chdir(tree / "outside")
    assert allowed.to_read("a.tif") == tree / "data" / "a.tif"
    assert allowed.to_read("c.tif") == tree / "more" / "c.tif"
    assert allowed.to_read("done/d.csv") == tree / "output" / "done" / "d.csv"
    assert allowed.to_write("tiles") == tree / "output" / "tiles"
    assert allowed.to_work_in("done") == tree / "output" / "done"


def test_data_is_not_written_but_results_in_it_are_looked_at(allowed, tree):
    for path in ("data", "data/a.tif", "more/new"):
        with pytest.raises(Refused, match=r"is not in the folder that this server writes into; it must be in .*output"):
            allowed.to_write(tree / path)
    assert allowed.to_work_in(tree / "data" / "sub") == tree / "data" / "sub"


def test_a_folder_that_is_itself_a_link(tree):
    (tree / "short").symlink_to(tree / "data")
    allowed = make_places(data=[tree / "short"])
    assert allowed.to_read(tree / "short" / "a.tif") == tree / "data" / "a.tif" == allowed.to_read(tree / "data/a.tif")


@pytest.mark.parametrize(
    ("how", "said"),
    [({}, "without --output FOLDER"), ({"read_only": True}, "with --read-only")],
)
def test_nothing_is_written_without_a_folder_for_it_or_read_only(tree, how, said):
    allowed = make_places(data=[tree / "data"], **how)
    assert not allowed.may_write
    with pytest.raises(Refused, match=said):
        allowed.to_write(tree / "data" / "new")
    assert make_places(read_only=True).why_not_write.endswith("served with --read-only.")
    with pytest.raises(Refused):
        make_places(data=[tree / "data"], output=tree / "output", read_only=True).to_write(tree / "output" / "x")
    assert allowed.to_work_in("sub") == tree / "data" / "sub"


def test_nothing_is_restricted_where_nothing_is_said(tmp_path, monkeypatch):
    for name in ("GRATICULE_DATA", "GRATICULE_OUTPUT", "GRATICULE_READ_ONLY"):
        monkeypatch.delenv(name, raising=False)
    free = places()
    assert free == Places() and free.may_write and not free.restricted
    for path in ("../x", "/etc/passwd", "~", str(tmp_path)):
        assert free.to_read(path) == free.to_write(path) == free.to_work_in(path) == Path(path)


def test_the_environment_says_what_was_said(allowed, tree, monkeypatch):
    for name, value in allowed.environment().items():
        monkeypatch.setenv(name, value)
    assert places() == allowed
    monkeypatch.setenv("GRATICULE_READ_ONLY", "1")
    assert places().read_only and not places().may_write
    monkeypatch.setenv("GRATICULE_READ_ONLY", "no")
    assert places().may_write
    monkeypatch.setenv("GRATICULE_DATA", os.pathsep.join([str(tree / "data"), str(tree / "none")]))
    with pytest.raises(ValueError, match=r"data must be folders that are there; .*none is none"):
        places()


def test_folders_that_make_no_sense_are_refused(tree):
    with pytest.raises(ValueError, match=r"data must be a folder below the root"):
        make_places(data=["/"])
    with pytest.raises(ValueError, match=r"output must be a folder below the root"):
        make_places(data=[tree], output="/")
    with pytest.raises(ValueError, match=r"output needs data"):
        make_places(output=tree)
    with pytest.raises(ValueError, match=r"data must be folders"):
        make_places(data=[tree / "data" / "a.tif"])
    assert make_places(data=[tree], output=tree / "made").output == tree / "made" and (tree / "made").is_dir()
    make_places(data=[tree], output=tree / "not_made", read_only=True)
    assert not (tree / "not_made").exists()


def test_others_are_served_only_with_data(tree):
    check_places(None, reached_by_others=False)
    check_places([tree], reached_by_others=True)
    for none in (None, [], ()):
        with pytest.raises(ValueError, match=r"data must name the folders that visitors may have read"):
            check_places(none, reached_by_others=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "none"], "data must be folders that are there"),
        (["--output", "output"], "output needs data"),
        (["--data", "data", "--images", "outside"], "images must be in a folder named with --data; outside is not"),
        (["--data", "data", "--images", "data/link_to_folder"], "link_to_folder is not"),
        (["--data", "data", "--roots", "data", "data_evil"], "roots must be in a folder named with --data; data_evil"),
        (["--data", "data", "--output", "output", "--demo", "--dir", "outside"], "dir must be in the folder named"),
        (["--data", "data", "--demo", "--dir", "data"], "dir must be in the folder named with --output"),
        (["--address", "0.0.0.0", "--allow-origin", "lab:5006", "--login-by-proxy"], "data must name the folders"),
    ],
)
def test_serve_says_what_is_wrong_at_start(tree, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tree)
    monkeypatch.setattr("dashboards.support.serving.serve", lambda **_: pytest.fail("it was served"))
    assert main(["serve", "--port", "0", *arguments]) == 2
    assert said in capsys.readouterr().err
