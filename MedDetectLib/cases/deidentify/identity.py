"""Values that tell who it is, collected before they go and looked for afterwards."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from dataclasses import dataclass, field

from MedDetectLib.cases.deidentify.dummies import DUMMIES

__all__ = ["Identity"]

SHORTEST, SHORTEST_NAME, SHORTEST_IN_BYTES = 4, 3, 6
SHORTEST_IDEOGRAPHIC = 2
IDEOGRAPHS = re.compile("[\u2e80-\uffdc]")
"""Scripts in which two characters are a name, and in which words are not set apart."""
LONG_TEXT = 12
CERTAIN = 8
"""Letters that need no end of word around them: bytes beside them may look like letters."""
UID = re.compile(rb"[0-2](?:\.\d{1,39}){3,}")
SAYS_NOTHING = {
    *(str(value).casefold() for value in DUMMIES.values()),
    "anonymous", "anonymized", "none", "unknown", "null", "n/a", "00000000", "000000",
}  # fmt: skip
ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "iso2022_jp", "euc_kr", "gb18030")


@dataclass
class Identity:
    """What may not appear any more.

    Args:
        texts: names, numbers, places, dates: lower case.
        uids: original UIDs.
        descriptions: longer free texts that went. They are looked for in the same object
            only: another may be described in the same words and be somebody else's.
    """

    texts: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    descriptions: set[str] = field(default_factory=set)

    def add_text(self, text: str) -> None:
        """Add a name, number or place as a whole."""
        text = _plain(" ".join(text.split()))
        if len(text) >= SHORTEST and text.casefold() not in SAYS_NOTHING:
            self.texts |= _small(text)

    def add_description(self, text: str) -> None:
        """Add a free text, unless it is so short that it is an ordinary word ("ABDOMEN")."""
        text = _plain(" ".join(text.split()))
        if len(text) >= LONG_TEXT:
            self.descriptions |= _small(text)

    def add_name(self, text: str) -> None:
        """Add a person's name and its parts."""
        self.add_text(text)
        for part in re.split(r"[\^=\s,]+", _plain(text)):
            least = SHORTEST_IDEOGRAPHIC if IDEOGRAPHS.search(part) else SHORTEST_NAME
            if len(part) >= least and part.casefold() not in SAYS_NOTHING:
                self.texts |= _small(part)

    def add_date(self, text: str) -> None:
        """Add the day of a date or date-time."""
        if (day := re.match(r"\d{8}", text.replace(".", ""))) and day[0] not in SAYS_NOTHING:
            self.texts.add(day[0])

    def add_uid(self, text: str) -> None:
        """Add a UID."""
        if text:
            self.uids.add(text)

    def update(self, other: Identity) -> None:
        """Add what another object knows, its descriptions left aside."""
        self.texts |= other.texts
        self.uids |= other.uids

    def tokens_in(self, text: str, *, short: bool = True) -> list[str]:
        """Return what of it stands in a text, as words of their own.

        Args:
            text: a value.
            short: look for values under six letters too.
        """
        text = _plain(text).casefold()
        return [
            known for known in self.texts | self.descriptions
            if known in text and (short or _is_long(known)) and _stands_alone(known, text)
        ]  # fmt: skip

    def has_uid_in(self, text: str) -> bool:
        """Whether an original UID, or one that begins with it, stands in a text."""
        for match in UID.findall(text.encode("ascii", "replace")):
            parts = match.decode().split(".")
            if any(".".join(parts[:n]) in self.uids for n in range(4, len(parts) + 1)):
                return True
        return False

    def found_in(self, data: bytes) -> list[str]:
        """Return what of it stands in raw bytes, upper or lower case, in any usual encoding.

        Values under six letters are not looked for: voxels hold them by chance.
        """
        found = {
            text for text in (match.decode() for match in UID.findall(data)) if text in self.uids
        }
        lower = data.lower()
        for known in self.texts | self.descriptions:
            if _is_long(known) and any(
                raw in lower and _stands_alone_in(raw, lower) for raw in _encoded(known)
            ):
                found.add(known)
        return sorted(found)


def _plain(text: str) -> str:
    """Return a text with composed letters: some file names have them in two pieces."""
    return unicodedata.normalize("NFC", text)


def _small(text: str) -> set[str]:
    """Return a text in lower case; with and without the letters that have no upper case."""
    return {text.casefold(), text.lower()}


def _is_long(known: str) -> bool:
    """Whether a value does not turn up by chance; three ideographs are six bytes or more."""
    return len(known) >= (3 if IDEOGRAPHS.search(known) else SHORTEST_IN_BYTES)


def _encoded(text: str) -> set[bytes]:
    """Return a text's bytes in the encodings that can hold it, as `bytes.lower` leaves them.

    That knows ASCII letters only: others are there in both cases, and composed or in pieces.
    """
    if text.isascii():
        return {text.encode(), text.encode("utf-16-le")}
    made = set()
    for spelled in (text, text.upper(), text.title()):
        for letters in (spelled, unicodedata.normalize("NFD", spelled)):
            for encoding in ENCODINGS:
                with contextlib.suppress(UnicodeEncodeError):
                    made.add(letters.encode(encoding).lower())
    return made


def _stands_alone(known: str, text: str) -> bool:
    """Whether a value is there and is not just part of a longer word or number."""
    if IDEOGRAPHS.search(known):
        return True
    return re.search(rf"(?<![^\W_]){re.escape(known)}(?![^\W_])", text) is not None


def _stands_alone_in(raw: bytes, data: bytes) -> bool:
    if len(raw) >= CERTAIN and not raw.isdigit():
        return True
    return re.search(rb"(?<![0-9a-z])" + re.escape(raw) + rb"(?![0-9a-z])", data) is not None
