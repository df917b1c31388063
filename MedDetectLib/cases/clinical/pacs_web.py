"""A PACS by DICOMweb (PS3.18), with dicomweb-client: STOW-RS, QIDO-RS and WADO-RS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from MedDetectLib.cases.atomic import make_folder, replacing
from MedDetectLib.cases.clinical.dicom_objects import read_object
from MedDetectLib.cases.clinical.pacs import Found, Query, Sent, partly, unreachable
from MedDetectLib.core.errors import BackendUnavailable, InputError, StoreError

if TYPE_CHECKING:
    from dicomweb_client.api import DICOMwebClient
    from pydicom.dataset import Dataset

__all__ = ["WebPacs"]

T = TypeVar("T")


@dataclass(frozen=True)
class WebPacs:
    """A DICOMweb service, see `pacs.Pacs`.

    Args:
        url: its address.
        timeout_s: how long each answer may take.
        login: user and password.
        token: bearer token.
    """

    url: str
    timeout_s: float
    login: tuple[str, str] | None = None
    token: str = ""

    def push(self, paths: Sequence[Path]) -> Sent:
        """Store objects by STOW-RS, one by one, so that it is known which was not taken."""
        client = self._client()
        stored: list[Path] = []
        failed: list[tuple[Path, str]] = []
        for path in paths:
            data = read_object(path)
            try:
                answer = self._asked(client.store_instances, [data])
            except StoreError as error:
                if error.code != "pacs-failed" and not stored and not failed:
                    raise
                failed.append((path, error.what))
                continue
            refused = answer.get("FailedSOPSequence") or ()
            if refused:
                reason = refused[0].get("FailureReason")
                failed.append((path, "refused" if reason is None else f"status 0x{reason:04X}"))
            else:
                stored.append(path)
        if failed:
            raise partly(failed, len(paths), self.url)
        return Sent(tuple(stored), {})

    def find(self, query: Query) -> list[Found]:
        """Return what matches, by QIDO-RS."""
        from pydicom.dataset import Dataset

        client = self._client()
        filters = {
            "PatientID": query.patient,
            "ModalitiesInStudy" if query.level == "study" else "Modality": query.modality,
            "StudyInstanceUID": query.study,
            "SeriesInstanceUID": query.series,
            "SOPInstanceUID": query.instance,
        }
        filters = {key: value for key, value in filters.items() if value}
        search: dict[str, Callable[..., Any]] = {
            "study": client.search_for_studies,
            "series": client.search_for_series,
            "instance": client.search_for_instances,
        }
        fields = ["PatientID", "SeriesDescription", "StudyDescription", "SeriesNumber"]
        rows = self._asked(search[query.level], search_filters=filters, fields=fields)
        return [Found.of(Dataset.from_json(row)) for row in rows]

    def fetch(self, query: Query, out: Path) -> tuple[Path, ...]:
        """Bring objects here by WADO-RS, instance by instance."""
        if not query.study:
            raise InputError("no-study", "what is to be fetched is not said", todo="give --study")
        client = self._client()
        wanted = Query("instance", "", query.study, query.series, query.instance)
        found = self.find(wanted)
        if not found:
            raise InputError("no-match", "the PACS has nothing of the kind", where=self.url)
        make_folder(out)
        written = []
        for one in found:
            data: Dataset = self._asked(
                client.retrieve_instance, one.study or query.study, one.series, one.instance
            )
            path = out / f"{one.instance}.dcm"
            with replacing(path) as temporary:
                data.save_as(temporary, enforce_file_format=True)
            written.append(path)
        return tuple(written)

    # ---- how ---------------------------------------------------------------------------

    def _client(self) -> DICOMwebClient:
        try:
            import requests
            from dicomweb_client.api import DICOMwebClient
        except ImportError as error:
            raise BackendUnavailable(
                "no-package", "DICOMweb needs the package dicomweb-client",
                todo="pip install 'meddetect[pacs]'",
            ) from error  # fmt: skip
        session = requests.Session()
        if self.login is not None:
            session.auth = self.login
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
        client = DICOMwebClient(self.url, session=session, timeout=self.timeout_s)
        client.set_http_retry_params(retry=False)
        return client

    def _asked(self, ask: Callable[..., T], *args: Any, **options: Any) -> T:
        """Ask the service, and say plainly what went wrong."""
        import requests

        try:
            return ask(*args, **options)
        except requests.exceptions.RequestException as error:
            raise self._trouble(error) from error
        except (ValueError, KeyError) as error:
            raise StoreError(
                "pacs-failed",
                f"the service's answer cannot be understood ({error})",
                where=self.url,
                todo="check that it is a DICOMweb service",
            ) from error

    def _trouble(self, error: Any) -> StoreError:
        """Return the error for a request that came to nothing."""
        from requests import exceptions

        status = getattr(error.response, "status_code", None)
        if isinstance(error, exceptions.Timeout):
            return unreachable("pacs-timeout", f"no answer within {self.timeout_s:g} s", self.url)
        if isinstance(error, exceptions.SSLError):
            return unreachable("pacs-unreachable", "its certificate is not trusted", self.url)
        if status in (401, 403):
            what = f"the service refused us (HTTP {status})"
            return unreachable("pacs-rejected", what, self.url)
        if status is None:
            return unreachable("pacs-unreachable", "no connection", self.url)
        return StoreError(
            "pacs-failed",
            f"the service answered HTTP {status}",
            where=self.url,
            todo="check the address (Orthanc: http://host:8042/dicom-web) and its log",
        )
