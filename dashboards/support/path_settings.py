"""Settings of a page that name files: what a visitor types is held against the folders that may be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import panel_material_ui as pmui
import param
from param.parameterized import instance_descriptor

from dashboards.support.places import SCHEDULER, Places, Refused, places


class CheckedSetting(param.String):
    """Text that is checked when it is set, wherever it comes from; where nothing is restricted, any text is right."""

    @instance_descriptor
    def __set__(self, obj: Any, value: Any) -> None:
        """Take a text, or a path, as it was checked, or raise `Refused` and keep what was there."""
        allowed, text = places(), self.as_typed(value)
        super().__set__(obj, self.check(text, allowed) if allowed.restricted and isinstance(text, str) else text)

    def as_typed(self, value: Any) -> Any:
        """Return what a person would type for a path; all else as it is."""
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def check(self, text: str, allowed: Places) -> str:
        """Return the text as it may be used.

        Parameters
        ----------
        text
            As typed.
        allowed
            Where files may be read and written.

        Raises
        ------
        Refused
            When it may not be used.
        """
        raise NotImplementedError


class ReadPath(CheckedSetting):
    """File or folder that is read; empty for none."""

    def check(self, text: str, allowed: Places) -> str:
        """Return the path without links."""
        return str(allowed.to_read(text.strip())) if text.strip() else ""


class ReadPaths(CheckedSetting):
    """Files or folders that are read, one a line; a list of them may be given."""

    def as_typed(self, value: Any) -> Any:
        """Return paths a line each; text as it is."""
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes, os.PathLike)):
            return "\n".join(map(os.fspath, value))
        return super().as_typed(value)

    def check(self, text: str, allowed: Places) -> str:
        """Return the paths without links."""
        return "\n".join(str(allowed.to_read(line.strip())) for line in text.splitlines() if line.strip())


class WorkFolder(CheckedSetting):
    """Folder that results are read from, and written into by acts that `writes` marks."""

    def check(self, text: str, allowed: Places) -> str:
        """Return the folder without links."""
        return str(allowed.to_work_in(text.strip())) if text.strip() else ""


class FileStem(CheckedSetting):
    """What names of files begin with; it leads nowhere."""

    def check(self, text: str, allowed: Places) -> str:
        """Return it as it is."""
        if set(text) & {"/", "\\", "\0"} or text in (".", ".."):
            raise Refused(ascii(text)[1:-1], "must be the beginning of a file's name, without folders")
        return text


class SchedulerAddress(CheckedSetting):
    """Address of a scheduler; visitors do not choose whom this machine talks to."""

    def check(self, text: str, allowed: Places) -> str:
        """Return it, when it is the one named at start."""
        if text.strip() not in ("", os.environ.get(SCHEDULER, "").strip()):
            raise Refused(ascii(text)[1:-1], "is not the scheduler that these pages are served with")
        return text


def check_again(dashboard: param.Parameterized) -> None:
    """Hold all that was typed against the folders once more; a link may have been made since.

    Parameters
    ----------
    dashboard
        A page.

    Raises
    ------
    Refused
        When something may not be read any more.
    """
    allowed = places()
    if allowed.restricted:
        for name, setting in dashboard.param.objects("existing").items():
            if isinstance(setting, CheckedSetting):
                setting.check(getattr(dashboard, name), allowed)


def allowed_defaults(page: type[param.Parameterized], given: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the defaults of those that are not given, so that these are checked like typed ones.

    Parameters
    ----------
    page
        Class of the page.
    given
        Settings by name.
    """
    if not places().restricted:
        return given
    checked = {
        name: each.default for name, each in page.param.objects(False).items() if isinstance(each, CheckedSetting)
    }
    return {**{name: default for name, default in checked.items() if default}, **given}


def path_field(dashboard: Any, name: str, *, widget: type = pmui.TextInput, **options: Any) -> Any:
    """Return the text field of a checked setting: what is refused stays in it, marked, and the page says why.

    Parameters
    ----------
    dashboard
        The page.
    name
        Of the setting.
    widget
        What is typed into.
    **options
        Of the widget.
    """
    setting = dashboard.param[name]
    options.setdefault("label", setting.label)
    field = widget(value=getattr(dashboard, name), description=setting.doc or "", **options)
    said = ""

    def follow(*_: Any) -> None:
        field.param.update(value=getattr(dashboard, name), error_state=False)

    def typed(event: Any) -> None:
        nonlocal said
        try:
            if event.new != getattr(dashboard, name):
                setattr(dashboard, name, event.new)
        except Refused as refused:
            field.error_state = True
            dashboard.job.error = said = str(refused)
            return
        if said and dashboard.job.error == said:
            dashboard.job.error = said = ""
        if field.error_state or event.new != getattr(dashboard, name):
            follow()  # what was typed is shown in full

    field.param.watch(typed, "value")
    dashboard.param.watch(follow, name)
    return field
