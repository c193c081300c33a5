"""``graticule report``: several reports in one file, with one table of contents."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from markupsafe import Markup

from analysis.files import whole_file
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.options import settings_of_file
from dashboards.support.report import PARTS, SIGN, document

_TITLE = re.compile(r"<h1[^>]*>(.*?)</h1>", re.DOTALL)
_SECTION = re.compile(r'<section id="(section-\d+)">\s*<h2[^>]*>(.*?)</h2>', re.DOTALL)
_CONTENTS = re.compile(r'<nav aria-label="Contents">.*?</nav>', re.DOTALL)
_HERE = re.compile(r'(<section id="|href="#)(section-\d+")')
_SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)
_VERSION = re.compile(r'version\s*=\s*"(\d+\.\d+\.\d+)"')

app = App(name="report")
Files = Annotated[list[Path], Parameter(consume_multiple=True)]


@dataclass(frozen=True)
class _Part:
    """A report that was read."""

    file: Path
    title: Markup
    resources: tuple[str, ...]
    body: str
    scripts: str
    sections: tuple[tuple[str, Markup], ...]


def gather_reports(
    files: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str], *, title: str = "Reports"
) -> Path:
    """Write several reports as one, which opens without a network as each of them does.

    Parameters
    ----------
    files
        Reports made by any instrument, in the order in which they are to stand.
    output
        The HTML file to write; it may be one of them.
    title
        Its title.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        Without files; when one is no report of Graticule, is cut off, or draws with another version of Bokeh than the
        others. Nothing is written then.
    OSError
        When a file cannot be read or written.
    """
    parts = [_read(Path(file)) for file in files]
    if not parts:
        raise ValueError("files must name at least one report; got none.")
    resources = _shared_resources(parts)
    contents, bodies = Markup(""), Markup("")
    for number, part in enumerate(parts, start=1):
        prefix = f"report-{number}-"
        links = Markup("").join(
            Markup('<li><a href="#{}">{}</a></li>').format(prefix + anchor, heading)
            for anchor, heading in part.sections
        )
        contents += Markup('<li><a href="#report-{}"><b>{}</b></a><ol>{}</ol></li>').format(number, part.title, links)
        body = _HERE.sub(rf"\g<1>{prefix}\g<2>", _CONTENTS.sub("", part.body))
        body = body.replace("<main>", '<div class="report">').replace("</main>", "</div>")
        bodies += Markup('<article id="report-{}">{}</article>').format(number, Markup(body))
    head = Markup('<nav aria-label="Contents" class="reports"><h1>{}</h1><ol>{}</ol></nav>')
    whole = document(
        title,
        Markup("\n".join(resources)),
        head.format(title, contents) + Markup("<main>{}</main>").format(bodies),
        Markup("\n".join(part.scripts for part in parts)),
    )
    with whole_file(Path(output), "w", encoding="utf-8") as handle:
        handle.write(whole)
    return Path(output)


def _read(file: Path) -> _Part:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    if f'<meta name="generator" content="{SIGN}">' not in text[:5000]:
        raise ValueError(
            f"{file} must be a report written by Graticule; it is not, or was written before reports could be "
            "gathered. Write it again, with graticule INSTRUMENT report or on the instrument's page."
        )
    found = {}
    for part, (begin, end) in PARTS.items():
        start, stop = text.find(begin), text.rfind(end)
        if min(start, stop) < 0 or not text.rstrip().endswith("</html>"):
            raise ValueError(f"{file} must be a whole report; it is cut off. Write it again.")
        found[part] = text[start + len(begin) : stop]
    body = found["body"]
    if 'id="report-1"' in body:
        raise ValueError(f"{file} must be one report; it holds several already. Name the reports that it was made of.")
    title = _TITLE.search(body)
    return _Part(
        file=file,
        title=Markup(title[1]) if title else Markup.escape(file.name),
        resources=tuple(_SCRIPT.findall(found["resources"])),
        body=body,
        scripts=found["scripts"],
        sections=tuple((anchor, Markup(heading)) for anchor, heading in _SECTION.findall(body)),
    )


def _shared_resources(parts: Sequence[_Part]) -> list[str]:
    """Scripts that all reports need, each once, in the order in which they must run."""
    longest = max((part.resources for part in parts), key=len)
    for part in parts:
        if not set(part.resources) <= set(longest):
            versions = {each.file: _bokeh_version(each.resources) for each in parts if each.resources}
            told = "; ".join(f"{file}: {version}" for file, version in versions.items())
            raise ValueError(
                "All reports must draw with the same version of Bokeh, for one file holds it once. Write the older "
                f"ones again. Got {told}."
            )
    return list(longest)


def _bokeh_version(resources: Sequence[str]) -> str:
    found = _VERSION.search(resources[0])
    return found[1] if found else "unknown"


@act()
def report(run: Run, files: Files, *, output: Path = Path("reports.html"), title: str = "Reports") -> Outcome:
    """Gather several reports in one HTML file that opens without a network.

    Parameters
    ----------
    files
        Reports of any instruments, in the order in which they are to stand.
    output
        The file.
    title
        Its title.
    """
    written = gather_reports(files, output, title=title)
    size_mb = written.stat().st_size / 1e6
    return Outcome(
        {"reports": len(files), "size_mb": round(size_mb, 1)},
        files=[written],
        sentence=f"{written}: {len(files)} reports, {size_mb:.1f} MB.",
    )


app.default(report)
app.config = settings_of_file
