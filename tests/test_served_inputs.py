"""What visitors type and send: patterns that take for ever, and labels without end."""

import asyncio
import time

import pytest
from worlds import PAGES, draw_all, open_page

from dashboards.texture import TextureDashboard

LONG = "a" * 40
LONGEST_PAUSE_S = 5.0
PATTERNS = [
    "(a+)+$", "(.*)*x", "((a*)*)*b", "(a|aa)+$", "(?:a{1,50}){1,50}b", "a{100000}{100000}", "(a{1000}){1000}",
    "(?=(a+)+$)b", r"(a|a)*\1b", r"(?P<row>(a+)+)(?P<column>\d)$", "(" * 200, "[" * 200, "a" * 100_000, "\0", "(?i:",
    r"(?<=(a+)+)$", "(?:(?:a{200}){200}){200}(?!b)",
]  # fmt: skip
FIELDS = {"flatfield": "sample_regex", "texture": "pattern"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Data of all pages, with a slide and tiles whose names let patterns go astray."""
    folder = draw_all(tmp_path_factory.mktemp("drawn"))
    root = folder / "flatfield" / "project1"
    (root / "M1_1").rename(root / f"{LONG}!")
    for path in (root / f"{LONG}!").rglob("M1_1*"):
        path.rename(path.with_name(path.name.replace("M1_1", f"{LONG}!")))
    table = root / "sampledef.csv"
    table.write_text(table.read_text().replace("M1_1", f"{LONG}!"))
    for path in (folder / "texture" / "tiles").glob("Tile_*.tif"):
        path.rename(path.with_name(f"{LONG}{path.name}"))
    return folder


def test_every_field_for_patterns_is_tried():
    for instrument, made in PAGES.items():
        named = {
            name for name, each in made.param.objects(False).items()
            if "pattern" in f"{each.label} {each.doc}".lower() and type(each).__name__ == "String"
        }  # fmt: skip
        assert named <= {FIELDS.get(instrument)}, named


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern[:30].encode("unicode_escape").decode())
@pytest.mark.parametrize("instrument", FIELDS)
def test_a_pattern_that_would_take_for_ever(drawn, tmp_path, monkeypatch, instrument, pattern):
    """A pattern that takes for ever: answered in a sentence, and the server goes on answering others meanwhile."""
    monkeypatch.chdir(tmp_path)
    made = open_page(drawn, instrument) if instrument == "flatfield" else None

    async def type_in():
        longest, last = 0.0, time.monotonic()

        async def others():
            nonlocal longest, last
            while True:
                await asyncio.sleep(0.02)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        watching = asyncio.ensure_future(others())
        if made is not None:
            made.matching(pattern)  # as is counted while it is typed
            made.sample_regex = pattern
            found = made
        else:
            found = TextureDashboard(folder=str(drawn / "texture" / "tiles"), pattern=pattern)
        await asyncio.sleep(0.1)
        while any(job.busy for job in found._jobs):
            await asyncio.sleep(0.05)
        watching.cancel()
        return found, longest

    found, pause_s = asyncio.run(asyncio.wait_for(type_in(), 60))
    assert pause_s < LONGEST_PAUSE_S
    words = " ".join(job.error for job in found._jobs)
    assert "fault of the program" not in words and "Traceback" not in words
    if found is not made or made.matching(pattern)[2]:
        assert "attern" in words or "places" in words, words


def labels(count, ending):
    if ending == "json":
        entry = '{"file": "Tile.tif", "row": 0, "column": 0, "class": "a"}'
        return f'{{"labels": [{", ".join([entry] * count)}]}}'.encode()
    return b"file,row,column,class\n" + b"Tile.tif,0,0,a\n" * count


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize(("count", "words"), [(100_000, "it has 100,00"), (700_000, "8 MB at most; it has more")])
def test_labels_without_end_are_refused(drawn, tmp_path, monkeypatch, ending, count, words):
    """A file of labels that is far too large, sent or on the disk: a sentence, before it is taken apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dashboards.support.texture_writing.read_labels", None)
    made = open_page(drawn, "texture")
    before = dict(made.labels)
    content = labels(count, ending)
    asyncio.run(made.upload_labels(content, f"mine.{ending}"))
    assert words in made.write_job.error and made.write_job.error.startswith(f"mine.{ending} must be a file of labels")
    made.write_job.error = ""
    (tmp_path / f"there.{ending}").write_bytes(content)
    asyncio.run(made.load_labels(tmp_path / f"there.{ending}"))
    assert words in made.write_job.error
    assert made.labels == before


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_labels_of_every_patch_are_taken(drawn, tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    made = open_page(drawn, "texture")
    made.label(list(range(len(made.patches.table))), "all")
    asyncio.run(made.save_labels(tmp_path / f"l.{ending}"))
    count = len(made.labels)
    made.forget_labels()
    asyncio.run(made.upload_labels((tmp_path / f"l.{ending}").read_bytes(), f"l.{ending}"))
    assert made.write_job.error == "" and len(made.labels) == count == len(made.patches.table)
