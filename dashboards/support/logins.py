"""Who may open the pages: a file of names and salted hashes, tickets of those who are in, waits for those who guess."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

SHORTEST_PASSWORD = 12
"""Letters that a password has at least."""

LONGEST = 200
"""Letters that a name or a password has at most: hashing takes time that grows with them."""

_COST = {"n": 2**15, "r": 8, "p": 1}
_MEMORY_BYTES = 64 * 1024**2
_CURE = "Make it with: graticule password FILE NAME"


def hashed(password: str) -> str:
    """Return a password's salted hash as ``scrypt$n$r$p$salt$hash`` (Percival and Josefsson, RFC 7914).

    Parameters
    ----------
    password
        What the person types.
    """
    salt = secrets.token_bytes(16)
    words = [base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt, **_COST))]
    return "$".join(["scrypt", *map(str, _COST.values()), *words])


def matches(password: str, known: str) -> bool:
    """Tell whether a password has a hash, in a time that does not depend on where they differ.

    Parameters
    ----------
    password
        What the person types.
    known
        As `hashed` makes it.
    """
    numbers, salt, wanted = _parts(known)
    return hmac.compare_digest(_scrypt(password, salt, **numbers), wanted)


def _scrypt(password: str, salt: bytes, **cost: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, maxmem=_MEMORY_BYTES, dklen=32, **cost)


def _parts(known: str) -> tuple[dict[str, int], bytes, bytes]:
    kind, n, r, p, salt, wanted = known.split("$")
    numbers = {"n": int(n), "r": int(r), "p": int(p)}
    if kind != "scrypt" or 128 * numbers["n"] * numbers["r"] * numbers["p"] > _MEMORY_BYTES // 2:
        raise ValueError("not a hash of this kind")
    return numbers, base64.b64decode(salt, validate=True), base64.b64decode(wanted, validate=True)


# ---- the file --------------------------------------------------------------------------------------------


def read_accounts(path: Path) -> dict[str, str]:
    """Return the hashes of a file of logins by name.

    Parameters
    ----------
    path
        JSON, readable by its owner only.

    Raises
    ------
    ValueError
        With the file, what was found and what to do.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            # Windows keeps such rights elsewhere
            if os.name != "nt" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ValueError(
                    f"{path} must be readable by you only; its rights are {stat.filemode(mode)}. Say: chmod 600 {path}"
                )
            accounts = json.load(file)
    except OSError as error:
        raise ValueError(f"{path} must be a file of logins; {error.strerror}. {_CURE}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON object of names and hashes; {error}. {_CURE}") from None
    if not isinstance(accounts, dict) or not accounts:
        raise ValueError(f"{path} must be a JSON object with one name at least. {_CURE}")
    for name, known in accounts.items():
        try:
            _parts(known)
        except (ValueError, AttributeError, TypeError):
            raise ValueError(
                f"{path} must hold hashes, never passwords as they are; that of {name!r} is none. {_CURE}"
            ) from None
    return accounts


class Accounts:
    """The logins of a file, which is read again when it has changed.

    A file that became unreadable or wrong lets nobody in.

    Parameters
    ----------
    path
        As in `read_accounts`, which must succeed the first time.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._seen = self._state()
        self._known = read_accounts(self.path)
        self._nobody = hashed(secrets.token_urlsafe())

    def get(self, name: str) -> str | None:
        """Return the hash of a name, or None."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._known = read_accounts(self.path)
            except ValueError:
                self._known = {}
        return self._known.get(name)

    def check(self, name: str, password: str) -> bool:
        """Tell whether a name has a password; an unknown name takes as long as a known one."""
        known = self.get(name)
        right = matches(password, known or self._nobody)
        return right and known is not None

    def _state(self) -> tuple[int, int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


# ---- those logged in -------------------------------------------------------------------------------------


class Tickets:
    """Who is logged in, by a random word that only their browser has; kept in memory, so a restart ends all.

    Parameters
    ----------
    accounts
        A ticket ends when its name is taken away or gets another password.
    hours
        How long a ticket lasts.
    most
        Tickets kept; the oldest one goes first.
    clock
        Seconds.
    """

    def __init__(
        self, accounts: Accounts, *, hours: float = 12, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.accounts, self.seconds, self.most, self.clock = accounts, hours * 3600, most, clock
        self._kept: OrderedDict[bytes, tuple[str, str | None, float]] = OrderedDict()

    def give(self, name: str) -> str:
        """Return a new ticket."""
        word = secrets.token_urlsafe(32)
        self._kept[_digest(word)] = name, self.accounts.get(name), self.clock() + self.seconds
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return word

    def holder(self, word: str) -> str | None:
        """Return whose ticket it is; None for one that ended or never was."""
        found = self._kept.get(_digest(word))
        if found is None:
            return None
        name, known, until = found
        if self.clock() < until and known is not None and self.accounts.get(name) == known:
            return name
        self.take(word)
        return None

    def take(self, word: str) -> None:
        """End a ticket."""
        self._kept.pop(_digest(word), None)


def _digest(word: str) -> bytes:
    # what is looked up is a digest, so that the time a look-up takes tells nothing of a ticket
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()


# ---- those who guess -------------------------------------------------------------------------------------


class Waits:
    """How long to wait before the next try, after wrong ones for a name or from an address.

    Some tries are free; then each wrong one doubles the wait. After a day without one all is forgotten.

    Parameters
    ----------
    free
        Wrong tries without a wait.
    first_s, longest_s
        The first and the longest wait.
    most
        Names and addresses remembered; those not heard of for longest go first.
    clock
        Seconds.
    """

    def __init__(
        self,
        *,
        free: int = 5,
        first_s: float = 5,
        longest_s: float = 300,
        most: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.free, self.most, self.clock = free, most, clock
        self.first_s, self.longest_s = first_s, longest_s
        self._wrong: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def left_s(self, *whom: str) -> float:
        """Return the seconds that are left to wait for any of some names and addresses."""
        now = self.clock()
        return max((self._until(key) - now for key in map(_digest, whom) if key in self._wrong), default=0.0)

    def wrong(self, *whom: str) -> None:
        """Remember a wrong try."""
        now = self.clock()
        for key in map(_digest, whom):
            tries, last = self._wrong.pop(key, (0, now))
            self._wrong[key] = (1 if now - last > 86_400 else min(tries + 1, 1000)), now
        while len(self._wrong) > self.most:
            self._wrong.popitem(last=False)

    def forget(self, whom: str) -> None:
        """Forget the wrong tries for a name whose password was right at last."""
        self._wrong.pop(_digest(whom), None)

    def forgive(self, whom: str) -> None:
        """Take one wrong try of an address back: those before it may have been another person's."""
        key = _digest(whom)
        if key in self._wrong:
            tries, last = self._wrong[key]
            self._wrong[key] = max(tries - 1, 0), last

    def _until(self, key: bytes) -> float:
        tries, last = self._wrong[key]
        over = tries - self.free
        return last + (min(self.first_s * 2 ** min(over, 30), self.longest_s) if over >= 0 else 0.0)
