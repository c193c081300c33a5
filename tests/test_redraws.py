"""Pictures that are drawn anew while somebody looks: together, with rests, and only where they changed."""

from __future__ import annotations

import time
from types import SimpleNamespace

import holoviews as hv
import panel as pn
import param
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc

from dashboards.support.loading import draw_soon
from dashboards.support.tabs import live


class Board(param.Parameterized):
    overlap, words = param.Integer(0), param.String()


@pytest.fixture
def looked_at(monkeypatch):
    """The document of a served page that a browser has built."""
    document = Document()
    session = SimpleNamespace(connection_count=1)
    document._session_context = lambda: context
    context = SimpleNamespace(session=session, destroyed=False)
    monkeypatch.setattr(type(pn.state), "loaded", property(lambda _: True))
    with set_curdoc(document):
        yield document


def run_due(document):
    """Do what the page's timers would, and return after how many milliseconds they were to."""
    due = document.session_callbacks
    for each in due:
        document.remove_timeout_callback(each)
        each.callback()
    return [each.timeout for each in due]


def test_several_pictures_are_drawn_at_once_each_one_time(looked_at):
    drawn = []
    first, second = (lambda: drawn.append("first")), (lambda: drawn.append("second"))
    for each in (first, second, first, first):
        draw_soon(each)
    assert not drawn
    assert len(run_due(looked_at)) == 1
    assert drawn == ["first", "second"]


def test_a_page_rests_as_long_as_it_drew(looked_at):
    """A slider that is dragged does not keep the page from answering."""
    draw_soon(lambda: time.sleep(0.1))
    assert run_due(looked_at) == [0]
    draw_soon(lambda: None)
    (rest_ms,) = run_due(looked_at)
    assert 50 < rest_ms <= 500
    time.sleep(0.2)
    draw_soon(lambda: None)
    assert run_due(looked_at) == [0]


def test_a_picture_that_fails_leaves_the_others_and_the_page_as_they_are(looked_at, caplog):
    drawn = []

    def fail():
        raise RuntimeError("no such colour")

    for each in (fail, lambda: drawn.append("second")):
        draw_soon(each)
    run_due(looked_at)
    assert drawn == ["second"] and "no such colour" in caplog.text
    assert looked_at.models._freeze_count == 0


def test_nothing_is_drawn_for_a_page_that_was_closed(looked_at):
    looked_at.session_context.destroyed = True
    draw_soon(lambda: pytest.fail("nobody looks"))
    assert not looked_at.session_callbacks


def test_where_nobody_looks_pictures_are_drawn_at_once():
    drawn = []
    draw_soon(lambda: drawn.append("notebook"))
    assert drawn == ["notebook"]


def test_a_picture_made_of_the_same_is_not_sent_again():
    drawn, board = [], Board()

    def draw():
        drawn.append(board.overlap)
        return hv.Curve([0, board.overlap])

    picture = live(
        draw, board, ["overlap", "words"], lambda redraw: lambda *_: redraw(), unless_same=lambda: board.overlap
    )
    hv.render(picture)
    board.words = "another sentence"
    assert drawn == [0]
    board.overlap = 7
    picture[()]
    assert drawn == [0, 7]
