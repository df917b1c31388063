"""One DICOM data set by the Basic Profile, items of sequences included."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from MedDetectLib.cases.deidentify.dummies import dummy_of
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key
from MedDetectLib.cases.deidentify.profile_table import KEEPS_PERSONAL_DATES, action_of

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["PIXELS", "Cleaner", "is_term", "patient_of", "texts_of"]

PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
REFERENCED_STUDY = 0x00081110
"""Optional wherever there are images, and then not allowed to be empty."""
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float, double and ordinary pixel data."""
TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
WORDS = (*TEXTS, "AE", "CS", "DS", "IS", "UR")
STANDARD_SCHEMES = frozenset((
    "BI", "DCM", "FMA", "IBSI", "LN", "NCIt", "RADLEX", "SCT", "SRT", "SNM3", "UCUM", "UMLS",
))  # fmt: skip
CODES = ("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodeMeaning")
IDENTIFYING = re.compile(
    r"(?<!Protocol)Name|ID$|IDs$|Identifier|Number|Address|Institution|Physician|Operator"
    r"|Telephone|Telecom|Station|Department|Person|Serial|Insurance|Occupation|Author|Verif"
    r"|Observer|Reviewer|AETitle|Issuer|Contact|Location"
)
"""Attributes whose short values tell who or where, unlike those of descriptions."""


@dataclass
class Cleaner:
    """Applies the table to one object.

    Of compound codes the one that keeps any object valid is taken: a dummy where the table
    allows D, else an empty value where it allows Z. What is empty stays empty.

    Args:
        key: gives out UIDs.
        pseudonym: of the patient, for name and id.
        shift_days: by how many days dates move; None to take them out as the profile says.
        counts: how often which action was taken.
        gone: the values that were taken out.
        coincidences: attributes that are kept although they hold one of them, because they
            hold numbers or defined terms such as HEAD, which a name may be too.
    """

    key: Key
    pseudonym: str
    shift_days: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    gone: Identity = field(default_factory=Identity)
    coincidences: set[str] = field(default_factory=set)

    def clean(self, data: Dataset) -> None:
        """Apply the table to a data set and all below it, in place."""
        self._walk(data)
        self._scrub(data)

    # --- the table ----------------------------------------------------------------------

    def _walk(self, data: Dataset) -> None:
        from pydicom.datadict import dictionary_has_tag, repeater_has_tag

        for tag in list(data.keys()):
            number = int(tag)
            code = action_of(number)
            group = number >> 16
            if number & 0xFFFF == 0 or (group == 0 and code is None):
                del data[tag]  # group lengths, and commands that belong to the network
            elif group % 2:
                self._remove(data, tag, "private")
            elif 0x6000 <= group <= 0x60FF or 0x5000 <= group <= 0x50FF:
                # Without its data the rest of an overlay would make the object invalid.
                self._remove(data, tag, "X" if code else "overlay-rest")
            elif code is not None:
                self._act(data, data[tag], code)
            elif not (dictionary_has_tag(number) or repeater_has_tag(number)):
                self._remove(data, tag, "unknown")
            elif number not in PIXELS:
                self._unlisted(data, data[tag])

    def _act(self, data: Dataset, element: DataElement, code: str) -> None:
        """Do what a row says; the code it was done by is counted."""
        self._collect(element)
        self.counts[code] += 1
        number = int(element.tag)
        if number in (PATIENT_NAME, PATIENT_ID):
            element.value = self.pseudonym
        elif element.VR in ("DA", "DT", "TM") and self._may_shift(number):
            self._shift(element)
        elif code == "X":
            del data[element.tag]
        elif _is_empty(element):
            return
        elif code == "U":
            element.value = self._mapped(element)
        elif code == "X/Z/U*":
            self._items(element)
        elif number == REFERENCED_STUDY:
            del data[element.tag]
        elif code in ("Z", "X/Z"):
            element.value = [] if element.VR == "SQ" else None
        elif element.VR == "SQ":
            self._dummy_sequence(element)
        elif element.VR == "UI":
            element.value = self._mapped(element)
        else:
            element.value = dummy_of(element.VR)

    def _unlisted(self, data: Dataset, element: DataElement) -> None:
        """Go into sequences; dates and names of attributes newer than the table go too."""
        if element.VR == "SQ":
            self._items(element)
        elif element.VR in ("DA", "DT", "PN") and not _is_empty(element):
            self._collect(element)
            self.counts["unlisted"] += 1
            if element.VR != "PN" and self.shift_days is not None:
                self._shift(element)
            else:
                element.value = dummy_of(element.VR)
        elif element.VR == "UN":
            self._remove(data, element.tag, "unknown")

    def _items(self, element: DataElement) -> None:
        for item in element.value or ():
            self._walk(item)

    def _remove(self, data: Dataset, tag: Any, why: str) -> None:
        self._collect(data[tag])
        self.counts[why] += 1
        del data[tag]

    # --- values -------------------------------------------------------------------------

    def _mapped(self, element: DataElement) -> Any:
        uids = [self.key.uid(uid) if uid else uid for uid in texts_of(element)]
        return uids if len(uids) > 1 else (uids or [""])[0]

    def _may_shift(self, number: int) -> bool:
        return self.shift_days is not None and number not in KEEPS_PERSONAL_DATES

    def _shift(self, element: DataElement) -> None:
        """Move dates; a time of day stays, what is no date is emptied."""
        self.counts["shifted"] += 1
        if element.VR == "TM":
            return
        moved = [self._moved(text) for text in texts_of(element)]
        element.value = (moved if len(moved) > 1 else moved[0]) if moved and all(moved) else None

    def _moved(self, text: str) -> str:
        plain = text.strip()
        if re.fullmatch(r"\d{4}\.\d{2}\.\d{2}", plain):
            plain = plain.replace(".", "")
        try:
            day = datetime.date(int(plain[:4]), int(plain[4:6]), int(plain[6:8]))
            moved = day + datetime.timedelta(days=self.shift_days or 0)
        except (ValueError, OverflowError):
            return ""
        return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}{plain[8:]}"

    def _dummy_sequence(self, element: DataElement) -> None:
        """Keep one item of the same shape that says nothing."""
        from pydicom.sequence import Sequence

        item = element.value[0]
        self._blank(item)
        element.value = Sequence([item])

    def _blank(self, item: Dataset) -> None:
        for element in list(item):
            if element.tag.is_private or action_of(int(element.tag)) == "X":
                self._remove(item, element.tag, "X")
            elif element.VR == "SQ":
                if not _is_empty(element):
                    self._dummy_sequence(element)
            elif element.VR == "UI":
                self._collect(element)
                element.value = self._mapped(element)
            elif element.VR != "CS" and not _is_empty(element):
                self._collect(element)
                element.value = dummy_of(element.VR)

    # --- what must not be left ----------------------------------------------------------

    def _collect(self, element: DataElement) -> None:
        """Remember the values of an element that goes, those in its items too."""
        if element.VR == "SQ":
            for item in element.value or ():
                for below in item:
                    self._collect(below)
            return
        keyword = element.keyword
        for text in texts_of(element):
            if element.VR == "PN":
                self.gone.add_name(text)
            elif element.VR in ("DA", "DT"):
                self.gone.add_date(text)
            elif element.VR == "UI":
                if action_of(int(element.tag)) == "U" and not self.key.is_ours(text):
                    self.gone.add_uid(text)
            elif element.VR in TEXTS and keyword not in CODES:
                if IDENTIFYING.search(keyword):
                    self.gone.add_text(text)
                else:
                    self.gone.add_description(text)

    def _scrub(self, data: Dataset) -> None:
        """Take identifying values out of attributes that are kept."""
        for element in list(data):
            if element.VR == "SQ":
                for item in element.value or ():
                    self._scrub(item)
            elif element.VR in WORDS and int(element.tag) not in (PATIENT_NAME, PATIENT_ID):
                if not any(self._tells(text) for text in texts_of(element)):
                    continue
                if is_term(data, element):
                    self.coincidences.add(element.keyword)
                else:
                    element.value = dummy_of(element.VR)
                    self.counts["scrubbed"] += 1

    def _tells(self, text: str) -> bool:
        """Whether a text holds a value that went, or a UID among its words."""
        return bool(self.gone.tokens_in(text)) or self.gone.has_uid_in(text)


def is_term(data: Dataset, element: DataElement) -> bool:
    """Whether a value is a number or a word that a standard defines, whoever the patient is."""
    if element.VR in ("CS", "DS", "IS"):
        return True
    scheme = str(data.get("CodingSchemeDesignator") or "").strip()
    return element.keyword in ("CodeMeaning", "CodeValue") and scheme in STANDARD_SCHEMES


def patient_of(data: Dataset) -> str:
    """Return what tells one patient from another: id and issuer, else name and birth date."""
    parts = [str(data.get(name) or "").strip() for name in ("PatientID", "IssuerOfPatientID")]
    if not parts[0]:
        parts = [str(data.get(name) or "").strip() for name in ("PatientName", "PatientBirthDate")]
    if not any(parts):
        parts = ["study", str(data.get("StudyInstanceUID") or "").strip()]
    return "|".join(parts)


def _is_empty(element: DataElement) -> bool:
    value = element.value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def texts_of(element: DataElement) -> list[str]:
    """Return the values of an element as texts; none for binary ones and sequences."""
    value = element.value
    if value is None or isinstance(value, bytes) or element.VR == "SQ":
        return []
    if isinstance(value, (int, float)) and element.VR not in ("DS", "IS"):
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__") or element.VR == "PN":
        many = value if element.VR == "PN" and element.VM > 1 else [value]
        return [str(text).strip() for text in many]
    return [str(text).strip() for text in value]
