"""A quick way to read many XML files that differ in their values only.

EPU writes the same markup again and again. What lxml found in one file is remembered as a layout: the markup byte
by byte, and which texts in it hold values. A file that has exactly this markup, with plain texts for the values, is
read by comparing bytes, several times faster than it could be parsed; it holds no element, attribute or entity that
lxml has not judged before. Whatever deviates goes to lxml, and teaches a layout when it is sound. Either way the
result is the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter

from analysis.exposures._epu import FIELDS, READ_NUMBERS, convert, find_fields, parse_time
from analysis.exposures._session import NEEDED

Values = tuple[list[float], list[str], int]
"""What `analysis.exposures._epu.convert` returns: numbers as they stand in the file, texts, and the time."""

_TEXT = re.compile(rb"(?<=>)[^<]+(?=<)")
_PLAIN = rb"[ -%'-;=?-~]*"  # printable ASCII without & < >
_NUMERIC = rb"[0-9.eE+ -]*"
_NUMBERS = len(READ_NUMBERS)
_MOST_LAYOUTS = 8
_MOST_LESSONS = 200


class Reader:
    """Reads exposures, and learns from each file how to read the next ones quickly."""

    def __init__(self) -> None:
        self._layouts: dict[bytes, _Layout] = {}
        self._lessons = 0

    def read(self, data: bytes) -> Values:
        """Return the values of one file, as `convert` and `find_fields` give them, with the same errors."""
        for layout in self._layouts.values():
            values = layout.read(data)
            if values is not None:
                return values
        values = convert(find_fields(data))
        if self._lessons < _MOST_LESSONS:
            self._lessons += 1
            self._learn(data, values)
        return values

    def _learn(self, data: bytes, values: Values) -> None:
        # a comment or CDATA may stand in the middle of a value
        if b"<!" in data or not data.isascii():
            return
        spans = list(_find_texts(data))
        probe = _with_numbers(data, spans)
        if probe in self._layouts:
            self._layouts[probe].loosen(data, spans, values)
            return
        try:
            # each text was replaced by its number, so every field now says where it comes from
            places = find_fields(probe)
        except ValueError:
            return
        if len(self._layouts) == _MOST_LAYOUTS:
            del self._layouts[next(iter(self._layouts))]
        wanted = [int(place) if place and place.isdecimal() else None for place in places]
        self._layouts[probe] = _Layout(data, spans, wanted, values)


def _find_texts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the texts that may hold values; keys and white space belong to the markup."""
    for match in _TEXT.finditer(data):
        if match.group().strip() and not data.endswith(b"Key>", 0, match.start()):
            yield match.span()


def _with_numbers(data: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    parts, at = [], 0
    for number, (start, end) in enumerate(spans):
        parts += [data[at:start], str(number).encode()]
        at = end
    return b"".join([*parts, data[at:]])


class _Layout:
    """The markup of one kind of file: what all files of the kind share, and where in it they differ."""

    def __init__(
        self, data: bytes, spans: Sequence[tuple[int, int]], wanted: Sequence[int | None], values: Values
    ) -> None:
        self._texts = [data[start:end] for start, end in spans]
        self._wanted = wanted
        # these differ in any two files; of the others one learns it when it happens
        self._free = {wanted[FIELDS.index(name)] for name in (*NEEDED, "acquired")}
        self._set_markup(data, spans, values)

    def loosen(self, data: bytes, spans: Sequence[tuple[int, int]], values: Values) -> None:
        """Learn from a file of the same markup which of its other texts differ too."""
        self._free |= {i for i, (start, end) in enumerate(spans) if data[start:end] != self._texts[i]}
        self._set_markup(data, spans, values)

    def _set_markup(self, data: bytes, spans: Sequence[tuple[int, int]], values: Values) -> None:
        free = sorted(self._free)
        starts = [0, *(spans[number][1] for number in free)]
        ends = [*(spans[number][0] for number in free), len(data)]
        self._first, *parts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        self._parts = [(part, len(part)) for part in parts]
        self._shared = values
        place = {number: i for i, number in enumerate(free)}
        sources = [place.get(number) for number in self._wanted]
        self._places = [i for i, at in enumerate(sources[:_NUMBERS]) if at is not None]
        self._pick = itemgetter(*(sources[i] for i in self._places))
        self._other = [(i, at) for i, at in enumerate(sources[_NUMBERS:-1]) if at is not None]
        self._time = sources[-1]
        kinds = [_NUMERIC if number in self._wanted[:_NUMBERS] else _PLAIN for number in free]
        self._check = re.compile(b"\0".join(kinds))

    def read(self, data: bytes) -> Values | None:
        """Return the values of a file of this markup, None for any other and for values that need judging."""
        if not data.startswith(self._first):
            return None
        at, found = len(self._first), []
        for part, length in self._parts:
            end = data.find(b"<", at)
            if not data.startswith(part, end):
                return None
            found.append(data[at:end])
            at = end + length
        if at != len(data) or not self._check.fullmatch(b"\0".join(found)):
            return None
        return self._convert(found)

    def _convert(self, found: list[bytes]) -> Values | None:
        """Do what `convert` does, for values beyond doubt."""
        try:
            values = [float(text) for text in self._pick(found)]
            acquired = parse_time(found[self._time].decode().strip())
        except ValueError:
            return None
        if not math.isfinite(sum(values)):
            return None
        numbers, texts = self._shared[0].copy(), self._shared[1]
        for i, value in zip(self._places, values, strict=True):
            numbers[i] = value
        if self._other:
            texts = texts.copy()
            for i, at in self._other:
                texts[i] = found[at].decode().strip()
        return numbers, texts, acquired
