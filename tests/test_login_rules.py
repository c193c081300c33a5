"""Who may serve pages to whom, and the parts of a login, without a server: addresses, files of logins, tickets."""

import io
import json
import os
import re
import sys

import pytest
from asking import PASSWORD, write_logins

from dashboards.support.command import main
from dashboards.support.logins import Accounts, Tickets, Waits, hashed, matches, read_accounts
from dashboards.support.password_command import set_password
from dashboards.support.serving_rules import Guard, OAuth


@pytest.fixture(scope="module")
def logins(tmp_path_factory):
    return write_logins(tmp_path_factory.mktemp("logins") / "people.json", "ada")


# ---- where the server listens ----------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
@pytest.mark.parametrize("more", [[], ["--allow-origin", "pages.example.org"]])
def test_addresses_that_others_reach_need_a_login(address, more, capsys):
    """Listening to the network without a login: refused before anything listens, with what to do."""
    assert main(["serve", "--address", address, *more]) == 2
    said = capsys.readouterr().err
    assert "no login" in said and "graticule password" in said and "--allow-origin" in said


@pytest.mark.parametrize("login", ["basic", "proxy"])
def test_addresses_that_others_reach_need_a_name(login, logins, capsys):
    """Listening to the network under any name: refused, the name must be told."""
    line = ["--basic-auth", str(logins)] if login == "basic" else ["--login-by-proxy"]
    assert main(["serve", "--address", "0.0.0.0", *line]) == 2
    assert "--allow-origin HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["*", "*.example.org", "https://example.org", "example.org/a", "a b", "", "a:0", "a:b"]
)
def test_wildcards_and_addresses_are_no_names(host):
    """Allowing every site at once: refused, names are given one by one."""
    with pytest.raises(ValueError, match="allow-origin must be HOST or HOST:PORT"):
        Guard(allow_origin=(host,)).check("127.0.0.1")


def test_two_logins_are_refused(logins):
    with pytest.raises(ValueError, match="one login; got --basic-auth and --login-by-proxy"):
        Guard(passwords=logins, by_proxy=True).check("127.0.0.1")


def test_names_are_spelt_as_browsers_spell_them():
    hosts = Guard(allow_origin=("Pages.example.org", "lab:8443", "old:80")).hosts("0.0.0.0", 5006)
    assert {"pages.example.org", "pages.example.org:443", "lab:8443", "old", "localhost:5006", "[::1]:5006"} <= hosts
    assert "lab" not in hosts and "0.0.0.0:5006" not in hosts
    assert "[2001:db8::1]:5006" in Guard().hosts("2001:db8::1", 5006)


def test_who_listens_to_the_network_is_told_what_is_not_safe(logins):
    named = {"allow_origin": ("lab",)}
    assert Guard().warnings("127.0.0.1", 1) == []
    assert "--behind-https" in Guard(passwords=logins, **named).warnings("0.0.0.0", 1)[0]
    assert Guard(passwords=logins, https=True, **named).warnings("0.0.0.0", 1) == []
    assert "without passing the proxy" in Guard(by_proxy=True, https=True, **named).warnings("0.0.0.0", 1)[0]


# ---- the file of logins ----------------------------------------------------------------------------------


def test_passwords_are_hashed_with_salt():
    """A file of logins that got out: it holds slow, salted hashes and no password."""
    first, second = hashed(PASSWORD), hashed(PASSWORD)
    assert first != second and PASSWORD not in first
    assert matches(PASSWORD, first) and matches(PASSWORD, second)
    assert not matches(PASSWORD + " ", first) and not matches("", first)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights elsewhere")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode, capsys):
    """A file of logins that others can read: refused, with the line that cures it."""
    path = write_logins(tmp_path / "people.json", "ada")
    path.chmod(mode)
    assert main(["serve", "--basic-auth", str(path)]) == 2
    assert f"chmod 600 {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({"ada": "secret"}), "must hold hashes, never passwords as they are; that of 'ada' is none"),
        (json.dumps({"ada": "scrypt$1073741824$8$1$AAAA$AAAA"}), "must hold hashes"),
        (json.dumps({"ada": None}), "must hold hashes"),
        (json.dumps(["ada"]), "must be a JSON object with one name at least"),
        ("{}", "must be a JSON object with one name at least"),
        ("[" * 100_000, "must be a JSON object of names and hashes"),
        ("ada:secret", "must be a JSON object of names and hashes"),
        ("\udcff", "must be a JSON object of names and hashes"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path, content, said):
    """A file of logins with plain passwords, endless hashing or nonsense: refused, with how to make one."""
    path = tmp_path / "people.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        read_accounts(path)
    assert "graticule password" in str(refused.value) and str(path) in str(refused.value)


def test_password_command_makes_and_changes_the_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "new" / "people.json"
    for name in ("ada", "bob"):
        monkeypatch.setattr(sys, "stdin", _typed(PASSWORD + name))
        assert main(["password", str(path), name]) == 0
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    accounts = Accounts(path)
    assert accounts.check("ada", PASSWORD + "ada") and not accounts.check("ada", PASSWORD + "bob")
    assert PASSWORD not in path.read_text() and PASSWORD not in "".join(capsys.readouterr())
    assert main(["password", str(path), "ada", "--remove"]) == 0
    assert not accounts.check("ada", PASSWORD + "ada") and accounts.check("bob", PASSWORD + "bob")
    monkeypatch.setattr(sys, "stdin", _typed("short"))
    assert main(["password", str(path), "bob"]) == 2
    assert "12 to 200 letters; got 5" in capsys.readouterr().err
    assert accounts.check("bob", PASSWORD + "bob")


def _typed(words):
    return io.StringIO(words + "\n")


def test_a_file_that_goes_wrong_lets_nobody_in(tmp_path):
    """A file of logins damaged while pages are served: nobody gets in, instead of everybody."""
    path = write_logins(tmp_path / "people.json", "ada")
    accounts = Accounts(path)
    assert accounts.check("ada", PASSWORD)
    path.write_text("{")
    assert not accounts.check("ada", PASSWORD)
    path.unlink()
    assert not accounts.check("ada", PASSWORD)


# ---- tickets and waits -----------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_tickets_end(tmp_path):
    """A login kept for ever: it ends after its hours, with the name, and with a new password."""
    path = write_logins(tmp_path / "people.json", "ada", "bob")
    clock = Clock()
    tickets = Tickets(Accounts(path), hours=1, most=3, clock=clock)
    ada, bob = tickets.give("ada"), tickets.give("bob")
    assert (tickets.holder(ada), tickets.holder(bob), tickets.holder("")) == ("ada", "bob", None)
    set_password(path, "ada", None)
    assert (tickets.holder(ada), tickets.holder(bob)) == (None, "bob")
    set_password(path, "bob", "another long password")
    assert tickets.holder(bob) is None
    again = tickets.give("bob")
    clock.now += 3599
    assert tickets.holder(again) == "bob"
    clock.now += 2
    assert tickets.holder(again) is None
    kept = [tickets.give("bob") for _ in range(5)]
    assert [tickets.holder(each) for each in kept] == [None, None, "bob", "bob", "bob"]


def test_waits_double_and_are_forgotten():
    clock = Clock()
    waits = Waits(free=2, longest_s=30, most=4, clock=clock)
    seen = []
    for _ in range(7):
        waits.wrong("ada")
        seen.append(waits.left_s("ada"))
    assert seen == [0, 5, 10, 20, 30, 30, 30]
    assert waits.left_s("bob") == 0 and waits.left_s("bob", "ada") == 30
    clock.now += 86_401
    waits.wrong("ada")
    assert waits.left_s("ada") == 0
    for number in range(100_000):
        waits.wrong(f"made up {number}")
    assert len(waits._wrong) == 4


# ---- login by another site -------------------------------------------------------------------------------


def test_login_by_another_site_says_who_may(monkeypatch, tmp_path):
    """Login by a public provider without saying who: refused, everybody has an account there."""
    monkeypatch.setenv("PANEL_OAUTH_SECRET", "s")
    with pytest.raises(ValueError, match="everybody with an account at github"):
        Guard(oauth=OAuth("github", "key")).check("127.0.0.1")
    with pytest.raises(ValueError, match="must be one of auth0"):
        Guard(oauth=OAuth("elsewhere", "key", allow=("*",))).check("127.0.0.1")
    with pytest.raises(ValueError, match="--oauth-key"):
        Guard(oauth=OAuth("github", "", allow=("*",))).check("127.0.0.1")
    monkeypatch.delenv("PANEL_OAUTH_SECRET")
    with pytest.raises(ValueError, match="PANEL_OAUTH_SECRET"):
        Guard(oauth=OAuth("github", "key", allow=("*",))).check("127.0.0.1")
    secret = tmp_path / "secret"
    secret.write_text("s\n")
    secret.chmod(0o644)
    if os.name != "nt":
        with pytest.raises(ValueError, match="chmod 600"):
            Guard(oauth=OAuth("github", "key", secret, allow=("*",))).check("127.0.0.1")
    secret.chmod(0o600)
    Guard(oauth=OAuth("github", "key", secret, allow=("*",))).check("127.0.0.1")


@pytest.mark.parametrize(
    ("user", "allow", "may"),
    [
        ("Ada@Example.org", ("@example.org",), True), ("ada@evil-example.org", ("@example.org",), False),
        ("ada", ("ada",), True), ("adam", ("ada",), False), ("x", ("*",), True),
        ("ada@example.org.evil", ("@example.org",), False),
    ],
)  # fmt: skip
def test_who_may_come_from_another_site(user, allow, may):
    assert OAuth("github", "k", allow=allow).lets_in(user) is may
