"""``graticule password``: make and change the file of those who may open the pages."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path

from cyclopts import App

from analysis.files import locked, whole_file
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.logins import LONGEST, SHORTEST_PASSWORD, hashed, read_accounts
from dashboards.support.options import settings_of_file

app = App(name="password")


def set_password(path: Path, name: str, password: str | None) -> int:
    """Give a name a password, or take the name away, and return how many names there are.

    Parameters
    ----------
    path
        The file of logins; made when it is missing, readable by its owner only.
    name
        Of the person.
    password
        None takes the name away.

    Raises
    ------
    ValueError
        For names and passwords that will not do, and a file that is something else.
    """
    name = name.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise ValueError(f"name must have 1 to {LONGEST} letters that can be printed; got {name!r}.")
    if password is not None and not SHORTEST_PASSWORD <= len(password) <= LONGEST:
        raise ValueError(
            f"password must have {SHORTEST_PASSWORD} to {LONGEST} letters; got {len(password)}. "
            "Some words in a row are easy to keep in mind and hard to guess."
        )
    path = Path(path)
    with locked(path):
        accounts = read_accounts(path) if path.exists() else {}
        if password is None and name not in accounts:
            raise ValueError(f"name must be one of {path}; got {name!r}.")
        if password is not None:
            accounts[name] = hashed(password)
        elif len(accounts) == 1:
            raise ValueError(f"{name!r} is the last name of {path}; remove the file to let nobody in.")
        else:
            del accounts[name]
        with whole_file(path, "w", encoding="utf-8", opener=_private) as file:
            json.dump(accounts, file, indent=2, ensure_ascii=False)
    return len(accounts)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@act()
def password_command(run: Run, file: Path, name: str, *, remove: bool = False) -> Outcome:
    """Let a person open the pages with a name and a password, or no longer.

    The password is asked for, or read as one line from standard input when that is no terminal. The pages take notice
    of a changed file at once; whoever is logged in under a name that is taken away or gets another password is out.

    Parameters
    ----------
    file
        File of logins, for --basic-auth of graticule serve.
    name
        Name of the person.
    remove
        Take the name away.
    """
    password = None
    if not remove:
        if sys.stdin.isatty():
            password = getpass.getpass(f"Password of {name}: ")
            if getpass.getpass("Once more: ") != password:
                raise ValueError("The two passwords must be the same; nothing was changed.")
        else:
            password = sys.stdin.readline().rstrip("\r\n")
    count = set_password(file, name, password)
    return Outcome({"file": str(file), "name": name, "logins": count}, files=[file])


app.default(password_command)
app.config = settings_of_file
