"""Several reports in one file: each as it was, with one table of contents, and still without a network."""

import re

import pandas as pd
import pytest
from bokeh.plotting import figure

from dashboards.support.command import main
from dashboards.support.gathering import gather_reports
from dashboards.support.report import Report

HTML_NAME = '<img src=x onerror="window.hit=1">'


def write_report(path, title, *, drawn=True):
    report = Report(title, {"images": 3}, {"overlap": 2}, {"numpy": "2.0"}, pd.DataFrame({"file": [HTML_NAME]}))
    blocks = []
    if drawn:
        plot = figure(width=300, height=200, name=title)
        plot.scatter([1, 2, 3], [3, 1, 2])
        blocks.append(plot)
    report.add_section(f"Result of {title}", "", *blocks, pd.DataFrame({"name": ["b", "a"], "n": [10, 9]}))
    return report.write(path)


@pytest.fixture
def three(tmp_path):
    return [
        write_report(tmp_path / "a.html", "First"),
        write_report(tmp_path / "b.html", f"Second {HTML_NAME}", drawn=False),
        write_report(tmp_path / "c.html", "Third"),
    ]


def test_every_section_of_every_report_stands_in_the_contents(three, tmp_path):
    text = gather_reports(three, tmp_path / "all.html", title="Tuesday").read_text()
    contents = re.search(r'<nav aria-label="Contents".*?</nav>', text, re.DOTALL)[0]
    links = re.findall(r'href="#([^"]+)"', contents)
    anchors = re.findall(r'(?:section|article) id="([^"]+)"', text)
    assert links == anchors
    assert len(set(links)) == len(links) == 3 * (1 + 5)
    for words in ("Result of First", "Result of Third", "Settings", "Inputs", "Tuesday"):
        assert words in contents
    assert text.count("<main>") == text.count("</main>") == 1


def test_scripts_of_bokeh_are_there_once(three, tmp_path):
    alone = [len(path.read_text()) for path in three]
    together = len(gather_reports(three, tmp_path / "all.html").read_text())
    assert together < max(alone) * 1.2
    assert gather_reports(three[1:2], tmp_path / "plain.html").stat().st_size < 30_000


def test_names_are_never_markup_and_nothing_outside_is_referred_to(three, tmp_path):
    text = gather_reports(three, tmp_path / "all.html", title=HTML_NAME).read_text()
    assert "<img src=x" not in text
    assert "default-src 'none'" in text
    assert not re.findall(r"<script\b[^>]*\bsrc=", text)


def test_what_is_no_report_is_named_and_nothing_is_written(three, tmp_path):
    output = tmp_path / "all.html"
    other = tmp_path / "other.html"
    other.write_text("<html></html>")
    with pytest.raises(ValueError, match=r"other\.html must be a report written by Graticule"):
        gather_reports([*three, other], output)
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"other\.html must be a report"):
        gather_reports([*three, other], output)
    whole = three[0].read_text()
    other.write_text(whole[: int(len(whole) * 0.9)])
    with pytest.raises(ValueError, match=r"other\.html must be a whole report; it is cut off"):
        gather_reports([*three, other], output)
    with pytest.raises(ValueError, match="at least one report"):
        gather_reports([], output)
    with pytest.raises(FileNotFoundError):
        gather_reports([tmp_path / "missing.html"], output)
    gathered = gather_reports(three, tmp_path / "gathered.html")
    with pytest.raises(ValueError, match="holds several already"):
        gather_reports([gathered], output)
    assert not output.exists()


def test_reports_that_draw_with_other_versions_are_refused(three, tmp_path):
    older = tmp_path / "older.html"
    text = three[2].read_text()
    version = re.search(r'version\s*=\s*"(3\.\d+\.\d+)"', text)[1]
    older.write_text(text.replace(version, "3.7.1"))
    with pytest.raises(ValueError, match=rf"a\.html: {version}.*older\.html: 3\.7\.1"):
        gather_reports([three[0], older], tmp_path / "all.html")


def test_the_command_gathers_and_says_where(three, tmp_path, capsys):
    output = tmp_path / "all.html"
    assert main(["report", *map(str, three), "--output", str(output), "--title", "Week 3"]) == 0
    assert f"{output}: 3 reports" in capsys.readouterr().out
    assert "<title>Week 3</title>" in output.read_text()
    assert main(["report", str(tmp_path / "none.html"), "--output", str(output)]) == 2
    assert "none.html" in capsys.readouterr().err
    assert "<title>Week 3</title>" in output.read_text()


@pytest.mark.browser
def test_gathered_reports_draw_and_sort_without_a_network(three, tmp_path, page):
    path = gather_reports(three, tmp_path / "all.html")
    page.context.set_offline(True)
    faults = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    page.wait_for_function("() => document.querySelectorAll('.picture > *').length == 2 && Bokeh.documents.length == 2")
    page.wait_for_function("() => Bokeh.documents.every(one => one.is_idle)")
    third = page.locator("#report-3")
    third.get_by_role("button", name="n", exact=True).click()
    rows = third.locator("section", has=page.get_by_role("heading", name="Result of Third")).locator("tbody tr")
    assert rows.all_inner_texts() == ["a\t9", "b\t10"]
    page.get_by_role("link", name="Result of Third").click()
    assert page.url.endswith("#report-3-section-2")
    assert faults == []
    assert page.evaluate("window.hit") is None
