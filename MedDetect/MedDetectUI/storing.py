"""What the Save section asks of the case store; runs in a thread, knows neither Qt nor scene."""

from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.cases.store.case_store import CaseStore, Reading, Saying


def storeReview(
    folder, volume, findings, patient, signature, caseId, reading, act, details, session
):  # fmt: skip
    """Put a signed review into the store and return its VersionRecord.

    The same `act` is stored once, however often this is repeated.

    Args:
        folder: of the store; made if need be.
        volume: the image.
        findings: as signed.
        patient: pseudonym, for a case that is not stored yet.
        signature: who signed.
        caseId: the case, empty for one that is not stored yet.
        reading: what the reader started from, or None.
        act: names this signature.
        details: what the review recorded beside.
        session: the review's folder; what the model found is taken from there.

    Raises:
        InputError, StoreError: what the store refuses.
    """
    store = CaseStore.open_or_create(folder)
    if not caseId:
        found = read_findings(session / "start")
        caseId = store.import_volume(volume, patient, found, existing_ok=True).case.id
    if reading is not None and reading.case == caseId and reading.reader == signature.reviewer:
        return store.sign_reading(
            reading, findings, comment=signature.comment, act=act, details=details
        )
    saying = Saying(
        "review", signature.reviewer, comment=signature.comment, act=act, details=details
    )
    return store.add_version(caseId, findings, saying)


def readingOf(folder, caseId, reader, blinded, number):
    """Return what a reader starts from: version `number`, or what `start_reading` says."""
    store = CaseStore(folder)
    if number is None:
        return store.start_reading(caseId, reader, blinded=blinded)
    start = next(v for v in store.versions(caseId) if v.number == number)
    return Reading(caseId, reader, False, start, store.findings(caseId, number))


def versionsOf(folder, caseId, seenBy):
    """Return a case's versions, oldest first; see `CaseStore.versions`."""
    return CaseStore(folder).versions(caseId, seen_by=seenBy)
