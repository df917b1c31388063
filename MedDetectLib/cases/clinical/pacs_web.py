"""A PACS by DICOMweb (PS3.18), with dicomweb-client: STOW-RS, QIDO-RS and WADO-RS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from MedDetectLib.cases.atomic import make_folder, replacing
from MedDetectLib.cases.clinical.dicom_objects import read_object
from MedDetectLib.cases.clinical.pacs import (
    Found,
    Query,
    Sent,
    file_of,
    partly,
    partly_fetched,
    unreachable,
)
from MedDetectLib.core.errors import BackendUnavailable, InputError, StoreError

if TYPE_CHECKING:
    from dicomweb_client.api import DICOMwebClient
    from pydicom.dataset import Dataset

__all__ = ["WebPacs"]

T = TypeVar("T")
UNREACHABLE = 69


@dataclass(frozen=True)
class WebPacs:
    """A DICOMweb service, see `pacs.Pacs`.

    Args:
        url: its address.
        timeout_s: how long each answer may take.
        login: user and password.
        token: bearer token.
        ca: certificates to trust, those of the system if None.
        client_cert: our own certificate with its key.
    """

    url: str
    timeout_s: float
    login: tuple[str, str] | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    ca: Path | None = None
    client_cert: Path | None = None

    def push(self, paths: Sequence[Path]) -> Sent:
        """Store objects by STOW-RS, one by one, so that it is known which was not taken."""
        client = self._client()
        stored: list[Path] = []
        failed: list[tuple[Path, str]] = []
        warnings: dict[str, str] = {}
        for path in paths:
            try:
                answer = self._asked(client.store_instances, [read_object(path)])
            except (InputError, StoreError) as error:
                if error.exit_code == UNREACHABLE and not stored and not failed:
                    raise
                failed.append((path, error.what))
                continue
            refused = answer.get("FailedSOPSequence") or ()
            if refused:
                reason = refused[0].get("FailureReason")
                failed.append((path, "refused" if reason is None else f"status 0x{reason:04X}"))
                continue
            stored.append(path)
            for one in answer.get("ReferencedSOPSequence") or ():
                if one.get("WarningReason"):
                    warnings[path.name] = f"status 0x{one.WarningReason:04X}"
        if failed:
            raise partly(failed, len(paths), self.url)
        return Sent(tuple(stored), warnings)

    def find(self, query: Query) -> list[Found]:
        """Return what matches, by QIDO-RS."""
        from pydicom.dataset import Dataset

        client = self._client()
        filters = {
            "PatientID": query.patient,
            "ModalitiesInStudy" if query.level == "study" else "Modality": query.modality,
            "SOPInstanceUID": query.instance,
        }
        within = _within(query)
        if "study_instance_uid" not in within:
            filters["StudyInstanceUID"] = query.study
        if "series_instance_uid" not in within:
            filters["SeriesInstanceUID"] = query.series
        filters = {key: value for key, value in filters.items() if value}
        search: dict[str, Callable[..., Any]] = {
            "study": client.search_for_studies,
            "series": client.search_for_series,
            "instance": client.search_for_instances,
        }
        fields = ["PatientID", "SeriesDescription", "StudyDescription", "SeriesNumber"]
        found: dict[Found, None] = {}
        while True:  # a service may give part of the matches at a time
            rows = self._asked(
                search[query.level], search_filters=filters, fields=fields,
                offset=len(found) or None, **within,
            )  # fmt: skip
            before = len(found)
            found |= dict.fromkeys(_placed(Dataset.from_json(row), query) for row in rows)
            if len(found) == before:
                return list(found)

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
        written: list[Path] = []
        failed: list[tuple[Path, str]] = []
        for one in found:
            try:
                path = self._asked(file_of, out, one.instance)
                data: Dataset = self._asked(
                    client.retrieve_instance, one.study, one.series, one.instance
                )
            except StoreError as error:
                if error.exit_code == UNREACHABLE and not written and not failed:
                    raise
                failed.append((Path(one.instance), error.what))
                continue
            with replacing(path) as temporary:
                data.save_as(temporary, enforce_file_format=True)
            written.append(path)
        if failed:
            raise partly_fetched(failed, len(found), self.url)
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
        if self.token:  # a header of the session would give way to a .netrc
            session.auth = self._with_token
        if self.ca is not None:  # else REQUESTS_CA_BUNDLE would go before it
            session.verify, session.trust_env = str(self.ca), False
            session.proxies = requests.utils.get_environ_proxies(self.url)
        if self.client_cert is not None:
            session.cert = str(self.client_cert)
        client = DICOMwebClient(self.url, session=session, timeout=self.timeout_s)
        client.set_http_retry_params(retry=False)
        return client

    def _with_token(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def _asked(self, ask: Callable[..., T], *args: Any, **options: Any) -> T:
        """Ask the service, and say plainly what went wrong."""
        try:
            return ask(*args, **options)
        except OSError as error:  # those of requests, and certificates that are not there
            raise self._trouble(error) from error
        except (ValueError, KeyError) as error:
            raise self._not_understood(error) from error

    def _not_understood(self, error: Exception) -> StoreError:
        return StoreError(
            "pacs-failed",
            f"the service's answer cannot be understood ({error})",
            where=self.url,
            todo="check that it is a DICOMweb service, and not a page to log in",
        )

    def _trouble(self, error: Any) -> StoreError:
        """Return the error for a request that came to nothing."""
        from requests import exceptions

        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, exceptions.JSONDecodeError):
            return self._not_understood(error)
        if isinstance(error, exceptions.Timeout):
            return unreachable("pacs-timeout", f"no answer within {self.timeout_s:g} s", self.url)
        ours = isinstance(error, exceptions.RequestException)
        if isinstance(error, exceptions.SSLError) or not ours:
            what = "the certificates of the service and of ours do not go together"
            hint = "give those to trust with --ca, our own with --client-cert"
            return unreachable("pacs-unreachable", what, self.url, hint)
        if status in (401, 403):
            what = f"the service refused us (HTTP {status})"
            hint = "give --user with its password, or a token, that may do this"
            return unreachable("pacs-rejected", what, self.url, hint)
        if status is None:
            return unreachable("pacs-unreachable", "no connection", self.url)
        return StoreError(
            "pacs-failed",
            f"the service answered HTTP {status}",
            where=self.url,
            todo="check the address (Orthanc: http://host:8042/dicom-web) and its log",
        )


def _within(query: Query) -> dict[str, str]:
    """Return which study and series to look in: that way every service must be able to answer."""
    within = {}
    if query.level != "study" and query.study:
        within["study_instance_uid"] = query.study
        if query.level == "instance" and query.series:
            within["series_instance_uid"] = query.series
    return within


def _placed(row: Dataset, query: Query) -> Found:
    """Return a match; a service need not repeat the study and series it was asked about."""
    one = Found.of(row)
    return replace(one, study=one.study or query.study, series=one.series or query.series)
