"""A PACS by DIMSE, with pynetdicom (PS3.7): C-STORE, C-FIND and C-GET.

pynetdicom is not part of Slicer: there this runs in the worker's environment, or objects go out
by DICOMweb or Slicer's own sender.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.cases.atomic import make_folder, write_bytes
from MedDetectLib.cases.clinical.dicom_objects import kind_of_object, read_object
from MedDetectLib.cases.clinical.pacs import Found, Query, Sent, file_of, partly, unreachable
from MedDetectLib.core.errors import BackendUnavailable, InputError, StoreError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.association import Association

__all__ = ["DimsePacs"]

MOST_CONTEXTS = 128
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
LEVELS = {"study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
KEYS = {
    "study": ("PatientID", "StudyInstanceUID", "ModalitiesInStudy", "StudyDescription"),
    "series": ("SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber"),
    "instance": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
FETCHED = (
    "SegmentationStorage", "LabelMapSegmentationStorage", "EnhancedSRStorage",
    "ComprehensiveSRStorage", "Comprehensive3DSRStorage", "RTStructureSetStorage",
    "CTImageStorage", "EnhancedCTImageStorage", "LegacyConvertedEnhancedCTImageStorage",
    "MRImageStorage", "EnhancedMRImageStorage", "LegacyConvertedEnhancedMRImageStorage",
    "PositronEmissionTomographyImageStorage", "NuclearMedicineImageStorage",
    "ComputedRadiographyImageStorage", "DigitalXRayImageStorageForPresentation",
)  # fmt: skip
"""What usually comes back; a C-GET must name all kinds beforehand."""


@dataclass(frozen=True)
class DimsePacs:
    """A PACS at ``host:port``, see `pacs.Pacs`.

    Args:
        host, port: where.
        called: its AE title.
        calling: ours.
        timeout_s: how long each answer may take.
    """

    host: str
    port: int
    called: str
    calling: str
    timeout_s: float

    @property
    def where(self) -> str:
        """The address as given."""
        return f"{self.host}:{self.port}/{self.called}"

    def push(self, paths: Sequence[Path]) -> Sent:
        """Store objects by C-STORE, all in one association."""
        ae = self._entity()
        kinds = Counter(kind_of_object(path) for path in paths)
        if len(kinds) > MOST_CONTEXTS:
            raise InputError("too-many-kinds", f"{len(kinds)} kinds of objects at once",
                             todo="send fewer files at a time")  # fmt: skip
        for sop_class, syntax in kinds:
            ae.add_requested_context(sop_class, syntax)
        stored: list[Path] = []
        failed: list[tuple[Path, str]] = []
        warnings: dict[str, str] = {}
        with self._association(ae) as association:
            for path in paths:
                if not association.is_established:
                    failed.append((path, "the connection was lost"))
                    continue
                try:
                    status = association.send_c_store(read_object(path))
                except InputError as error:
                    failed.append((path, error.what))
                    continue
                except (ValueError, RuntimeError) as error:  # its kind was not agreed on
                    failed.append((path, str(error)))
                    continue
                code = status.get("Status")
                if code is None:
                    failed.append((path, "no answer in time"))
                elif code == 0 or 0xB000 <= code <= 0xBFFF:
                    stored.append(path)
                    if code:
                        warnings[path.name] = _said(status)
                else:
                    failed.append((path, _said(status)))
        if failed:
            raise partly(failed, len(paths), self.where)
        return Sent(tuple(stored), warnings)

    def find(self, query: Query) -> list[Found]:
        """Return what matches, by C-FIND in the Study Root model."""
        ae = self._entity()
        ae.add_requested_context(STUDY_ROOT_FIND)
        found: list[Found] = []
        with self._association(ae) as association:
            for status, answer in association.send_c_find(_identifier(query), STUDY_ROOT_FIND):
                code = status.get("Status")
                if code in (0xFF00, 0xFF01) and answer is not None:
                    found.append(Found.of(answer))
                elif code != 0:
                    raise self._failed("the query", status)
        return found

    def fetch(self, query: Query, out: Path) -> tuple[Path, ...]:
        """Bring objects here by C-GET."""
        from pynetdicom import build_role, evt
        from pynetdicom._globals import ALL_TRANSFER_SYNTAXES

        _needs_study(query)
        found = self._instances(query)
        if not found:  # some PACS fail to get nothing
            raise InputError("no-match", "the PACS has nothing of the kind", where=self.where)
        make_folder(out)
        ae = self._entity()
        ae.add_requested_context(STUDY_ROOT_GET)
        roles = []
        for uid in _kinds_of(found):
            ae.add_requested_context(uid, ALL_TRANSFER_SYNTAXES)
            roles.append(build_role(uid, scp_role=True))
        written: list[Path] = []
        trouble: list[StoreError] = []

        def keep(event: Any) -> int:
            try:
                path = file_of(out, str(event.request.AffectedSOPInstanceUID))
                write_bytes(path, event.encoded_dataset())
            except StoreError as error:
                trouble.append(error)
                return 0xA700
            except ValueError as error:
                trouble.append(self._trouble(str(error)))
                return 0xC000
            written.append(path)
            return 0

        identifier = _identifier(query, only_uids=True)
        with self._association(ae, roles, [(evt.EVT_C_STORE, keep)]) as association:
            left = 0
            for status, _ in association.send_c_get(identifier, STUDY_ROOT_GET):
                code = status.get("Status")
                left = int(status.get("NumberOfFailedSuboperations") or 0)
                if code not in (0, 0xFF00, 0xB000):
                    raise trouble[0] if trouble else self._failed("fetching", status)
        if trouble:
            raise trouble[0]
        if left:
            raise StoreError(
                "pacs-partly", f"{left} objects could not be fetched, {len(written)} were",
                where=self.where, todo="fetch again",
            )  # fmt: skip
        return tuple(written)

    # ---- how ---------------------------------------------------------------------------

    def _instances(self, query: Query) -> list[Found]:
        """Return the objects of a study or series; a PACS may ask for each series by name."""
        every = [query.series] if query.series else [
            one.series for one in self.find(Query("series", study=query.study))
        ]  # fmt: skip
        return [
            one for uid in every
            for one in self.find(replace(query, level="instance", series=uid))
        ]  # fmt: skip

    def _entity(self) -> ApplicationEntity:
        try:
            from pynetdicom import AE
        except ImportError as error:
            raise BackendUnavailable(
                "no-package", "sending by C-STORE needs the package pynetdicom",
                todo="pip install 'meddetect[pacs]', or use DICOMweb (--web)",
            ) from error  # fmt: skip
        ae = AE(self.calling)
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = self.timeout_s
        ae.network_timeout = self.timeout_s
        return ae

    @contextmanager
    def _association(
        self, ae: ApplicationEntity, roles: Sequence[Any] = (), handlers: Sequence[Any] = ()
    ) -> Iterator[Association]:
        """Open an association, and release it at the end."""
        self._knock()
        association = ae.associate(
            self.host, self.port, ae_title=self.called, ext_neg=list(roles),
            evt_handlers=list(handlers),
        )  # fmt: skip
        if association.is_rejected:
            answer = association.acceptor.primitive
            why = getattr(answer, "reason_str", "") or "no reason given"
            what = f"the PACS refused '{self.calling}' calling '{self.called}': {why}"
            raise unreachable("pacs-rejected", what, self.where)
        if not association.is_established:
            raise unreachable(
                "pacs-timeout", f"the PACS did not answer within {self.timeout_s:g} s, or hung up",
                self.where,
            )  # fmt: skip
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _knock(self) -> None:
        """Say plainly why nobody is there."""
        try:
            socket.create_connection((self.host, self.port), self.timeout_s).close()
        except TimeoutError as error:
            raise unreachable(
                "pacs-timeout", "the PACS cannot be reached in time", self.where
            ) from error
        except OSError as error:
            why = error.strerror or str(error)
            raise unreachable("pacs-unreachable", f"no connection ({why})", self.where) from error

    def _trouble(self, what: str) -> StoreError:
        todo = "see the log of the PACS"
        return StoreError("pacs-failed", what, where=self.where, todo=todo)

    def _failed(self, what: str, status: Dataset) -> StoreError:
        if status.get("Status") is None:
            return unreachable("pacs-timeout", f"{what} was not answered in time", self.where)
        return self._trouble(f"{what} failed: {_said(status)}")


def _identifier(query: Query, *, only_uids: bool = False) -> Dataset:
    """Return what is asked for, with the fields wanted back."""
    from pydicom.dataset import Dataset

    data = Dataset()
    data.QueryRetrieveLevel = LEVELS[query.level]
    levels = list(LEVELS)
    for level in levels[: levels.index(query.level) + 1]:
        for keyword in () if only_uids else KEYS[level]:
            setattr(data, keyword, "")
    wanted = {
        "StudyInstanceUID": query.study, "SeriesInstanceUID": query.series,
        "SOPInstanceUID": query.instance,
    }  # fmt: skip
    if not only_uids:
        wanted["PatientID"] = query.patient
        wanted["ModalitiesInStudy" if query.level == "study" else "Modality"] = query.modality
    for keyword, value in wanted.items():
        if value:
            setattr(data, keyword, value)
    return data


def _kinds_of(found: Sequence[Found]) -> list[str]:
    """Return the SOP classes to prepare for: those found, and usual ones a PACS may not tell."""
    from pynetdicom import sop_class

    usual = [getattr(sop_class, name, "") for name in FETCHED]
    kinds = dict.fromkeys([*(one.sop_class for one in found), *map(str, usual)])
    return [uid for uid in kinds if uid][: MOST_CONTEXTS - 1]


def _said(status: Dataset) -> str:
    comment = str(status.get("ErrorComment") or "").strip()
    return f"status 0x{int(status.Status):04X}" + (f", {comment}" if comment else "")


def _needs_study(query: Query) -> None:
    if not query.study or (query.level != "study" and not query.series):
        raise InputError("no-study", "what is to be fetched is not said",
                         todo="give --study, and --series for a series")  # fmt: skip
