"""Pages that show their outline while the server still makes them."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from bokeh.server.session import ServerSession
from panel.io.server import DocHandler
from tornado.web import authenticated

from dashboards.support.header import THEME_COOKIE
from dashboards.support.loading import looked_up_early, tell_nobody, until_looked_up
from dashboards.support.template import OPENED

_FOR_DATA_S = 1.0
_TABLE_STYLE = re.compile(r"<link [^>]*/datatabulator/[^>]*>")
_AGAIN = "<script>location.reload()</script>"
_FAILED = "<script>showError('The page could not be made; the log of the server says why.')</script>"

logger = logging.getLogger(__name__)


def early_pages(until_files_are_sent: Callable[[], Awaitable[None]]) -> type[DocHandler]:
    """Return what answers with the pages of one server.

    It sends what is the same for every visitor first, then makes the page, and sends the rest. What is the same is
    what this page began with when it was made last. Should it begin otherwise after all, the browser loads it again,
    and from then on it is sent as a whole.

    Parameters
    ----------
    until_files_are_sent
        Awaited before a page is made for somebody who comes for the first time, and has no scripts yet.
    """
    begun: dict[tuple[str, bool], str] = {}
    unlike: set[tuple[str, bool]] = set()

    class EarlyPage(DocHandler):
        """One answer."""

        _sent = ""

        @property
        def _which(self) -> tuple[str, bool]:
            theme = self.cookies.get(THEME_COOKIE)
            return self.request.path, theme is not None and theme.value.endswith("dark")

        async def get_session(self) -> ServerSession:
            """Make the page, with what it shows first if that does not take long."""
            session = await super().get_session()
            if session is not None:
                tell_nobody(session)
                await until_looked_up(session.document, _FOR_DATA_S)
            return session

        @authenticated
        async def get(self, *args: Any, **kwargs: Any) -> None:
            """Answer with the page."""
            if self._which in begun:
                self._sent = begun[self._which]
                self.set_header("Content-Type", "text/html; charset=utf-8")
                self.set_header("Cache-Control", "no-store")
                super().write(self._sent)
                await self.flush()
                if THEME_COOKIE not in self.cookies:
                    await until_files_are_sent()
            looked_up_early.set(True)
            try:
                await super().get(*args, **kwargs)
            except Exception:
                if not self._sent:
                    raise
                # too late for another status
                logger.exception("A page could not be made.")
                super().write(_FAILED)

        def write(self, chunk: str | bytes | dict) -> None:
            """Write what was not sent yet."""
            if not isinstance(chunk, str) or OPENED not in chunk:
                return super().write(chunk)
            # the tables bring their styles along; which one stands here is that of the table made last, on any page
            start, _, rest = _TABLE_STYLE.sub("", chunk).partition(OPENED)
            if self._sent and start != self._sent:
                begun.pop(self._which, None)
                unlike.add(self._which)
                return super().write(_AGAIN)
            if self._which not in unlike:
                begun[self._which] = start
            return super().write(rest if self._sent else start + rest)

    return EarlyPage
