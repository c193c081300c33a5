"""Who may reach the served pages, from where and by which name: the rules, checked before the server starts."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboards.support.logins import read_accounts

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(\d{1,5}))?", re.IGNORECASE)
_SECRET = "PANEL_OAUTH_SECRET"
_PROVIDERS = ("auth0", "azure", "bitbucket", "generic", "github", "gitlab", "google", "okta")


@dataclass(frozen=True)
class OAuth:
    """Login by another site.

    Attributes
    ----------
    provider
        As Panel names it, such as ``"github"``.
    key
        The pages' public name at the provider.
    secret
        File with the pages' secret there; None takes the environment variable PANEL_OAUTH_SECRET.
    redirect_uri
        Address of the pages, as it is known to the provider.
    allow
        Names, or ``@domain`` of mail addresses, that may open the pages; ``"*"`` lets all of the provider in.
    """

    provider: str
    key: str
    secret: Path | None = None
    redirect_uri: str = ""
    allow: Sequence[str] = ()

    def check(self) -> None:
        """Refuse what would let the wrong people in.

        Raises
        ------
        ValueError
            With the reason and the cure.
        """
        if self.provider not in _PROVIDERS:
            raise ValueError(f"oauth-provider must be one of {', '.join(_PROVIDERS)}; got {self.provider!r}.")
        if not self.key:
            raise ValueError("oauth-provider needs --oauth-key, the public name that the provider gave to the pages.")
        if not self.allow:
            raise ValueError(
                f"oauth-provider needs --oauth-allow: without it everybody with an account at {self.provider} could "
                "log in. Give names, or @example.org for all of a domain; '*' lets all accounts in."
            )
        self.read_secret()

    def read_secret(self) -> str:
        """Return the secret.

        Raises
        ------
        ValueError
            When there is none, or others can read its file.
        """
        if self.secret is None:
            if os.environ.get(_SECRET):
                return os.environ[_SECRET]
            raise ValueError(f"oauth-provider needs a secret: --oauth-secret FILE, or the variable {_SECRET}.")
        return read_private(self.secret)

    def lets_in(self, user: str) -> bool:
        """Tell whether somebody whom the provider knows may open the pages."""
        user = user.casefold()
        return any(
            user.endswith(each.casefold()) if each.startswith("@") else each in ("*", user) or each.casefold() == user
            for each in self.allow
        )


def read_private(path: Path) -> str:
    """Return what a file says that only its owner can read.

    Raises
    ------
    ValueError
        When it cannot be read, is empty, or others can read it.
    """
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            words = file.read(10_000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a file with a secret; {getattr(error, 'strerror', error)}.") from None
    if os.name != "nt" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"{path} must be readable by you only; its rights are {stat.filemode(mode)}. "
                         f"Say: chmod 600 {path}")  # fmt: skip
    if not words:
        raise ValueError(f"{path} must hold a secret; it is empty.")
    return words


@dataclass(frozen=True)
class Guard:
    """What keeps others away from the pages.

    Attributes
    ----------
    allow_origin
        ``HOST`` or ``HOST:PORT`` under which other machines' browsers open the pages.
    passwords
        File of logins.
    oauth
        Login by another site.
    by_proxy
        Whether a web server before the pages asks for a login, and nobody reaches them otherwise.
    https
        Whether browsers reach the pages by https, from a web server before them.
    login_hours
        How long a login lasts.
    most_sessions
        Pages open at one time.
    """

    allow_origin: tuple[str, ...] = ()
    passwords: Path | None = None
    oauth: OAuth | None = None
    by_proxy: bool = False
    https: bool = False
    login_hours: float = 12.0
    most_sessions: int = 100

    def check(self, address: str) -> None:
        """Refuse what would let others in.

        Parameters
        ----------
        address
            Where the server will listen.

        Raises
        ------
        ValueError
            With the reason and the cure.
        """
        logins = [
            name
            for name, given in (
                ("--basic-auth", self.passwords),
                ("--oauth-provider", self.oauth),
                ("--login-by-proxy", self.by_proxy),
            )
            if given
        ]
        if len(logins) > 1:
            raise ValueError(f"There must be one login; got {' and '.join(logins)}.")
        if self.login_hours <= 0 or self.most_sessions < 1:
            raise ValueError("login-hours and most-sessions must be more than 0.")
        for host in self.allow_origin:
            check_origin(host)
        if self.passwords is not None:
            read_accounts(self.passwords)
        if self.oauth is not None:
            self.oauth.check()
        if is_loopback(address):
            return
        if not logins:
            raise ValueError(
                f"address must be one that only this machine reaches, such as 127.0.0.1; got {address}. There is no "
                "login, and whoever opens the pages reads and writes files as you. Give --basic-auth FILE (made with: "
                "graticule password FILE NAME) or --oauth-provider, and --allow-origin HOST:PORT."
            )
        if not self.allow_origin:
            raise ValueError(
                f"address {address} is one that others reach, so the name under which their browsers open the pages "
                "must be told. Give it with --allow-origin HOST:PORT."
            )

    def warnings(self, address: str, port: int) -> list[str]:
        """Return what whoever starts the pages should know.

        Parameters
        ----------
        address, port
            Where the server will listen.
        """
        if is_loopback(address):
            return []
        if self.by_proxy:
            return [f"Whoever reaches {address}:{port} without passing the proxy reads and writes files as you."]
        if not self.https:
            return ["Passwords and pictures go over the network as they are. Put a web server with https before the "
                    "pages, and say --behind-https."]  # fmt: skip
        return []

    @property
    def has_login(self) -> bool:
        """Whether the pages themselves ask for a login."""
        return self.passwords is not None or self.oauth is not None

    def hosts(self, address: str, port: int) -> frozenset[str]:
        """Return the names under which browsers may open the pages, as they stand in requests.

        Parameters
        ----------
        address, port
            Where the server listens.
        """
        # a page of another site can make its own name lead here, but never one of these
        names = [f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"]
        if not _is_unspecified(address):
            names.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        for host in self.allow_origin:
            usual = _HOST.fullmatch(host)[1]
            names.append(host)
            # browsers leave a scheme's own port out
            if usual is None:
                names += [f"{host}:80", f"{host}:443"]
            elif usual in ("80", "443"):
                names.append(host.rpartition(":")[0])
        return frozenset(name.lower() for name in names)


def check_origin(host: str) -> None:
    """Refuse what is no name of a place with pages.

    Raises
    ------
    ValueError
        With the cure.
    """
    found = _HOST.fullmatch(host)
    if found is None or (found[1] and not 0 < int(found[1]) < 65536):
        raise ValueError(
            f"allow-origin must be HOST or HOST:PORT as browsers show it, such as graticule.example.org; got {host!r}."
            " Leave https:// and what follows the name away, and name every host: there are no wildcards."
        )


def is_loopback(address: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _is_unspecified(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return address == ""
