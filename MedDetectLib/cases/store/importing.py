"""Taking an image into the store: once per patient, in the patient's split."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from MedDetectLib.cases.durable import (
    said_plainly,
    sync_file,
    sync_folder,
    temporary_name,
    write_inside,
)
from MedDetectLib.cases.store.blobs import Staged
from MedDetectLib.cases.store.findings_blobs import StagedFindings, check_grid, staged_findings
from MedDetectLib.cases.store.lease import Lease
from MedDetectLib.cases.store.nrrd_blob import write_voxels
from MedDetectLib.cases.store.queries import KnownImage, split_of_patient, with_image
from MedDetectLib.cases.store.records import CaseRecord, checked_name, sealed
from MedDetectLib.cases.store.signing import Saying, add_version, version_of
from MedDetectLib.cases.store.split import Split, drawn_split
from MedDetectLib.cases.store.store_folder import StoreFolder, now
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

__all__ = ["Imported", "import_volume"]


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Args:
        case: the case, new or found.
        is_new: False when the image was there already and `existing_ok` was given.
    """

    case: CaseRecord
    is_new: bool


def import_volume(
    store: StoreFolder,
    volume: Volume,
    patient: str,
    findings: Findings | None = None,
    *,
    existing_ok: bool = False,
) -> Imported:
    """Store an image as a new case; when this returns, it survives a crash and a power cut.

    Args:
        store: where to.
        volume: the image.
        patient: the pseudonym; not used in any file name.
        findings: what a model found, to become version 1.
        existing_ok: go on with the case that has this image of this patient already; the
            findings are added to it unless it has them.

    Raises:
        InputError: ``duplicate-image`` when this patient's very image is there;
            ``split-conflict`` when it is another patient's, in another split; ``bad-name``,
            ``bad-array``, ``other-grid``; ``other-image`` when the findings are of other voxels.
        StoreError: see `add_version`.
    """
    store.check_writable()
    patient = checked_name(patient, "patient id")
    if findings is not None:
        check_grid(volume.geometry, findings, volume.name)
    volume_sha256 = volume.sha256
    if findings is not None:
        _check_image(volume_sha256, findings, volume.name)
    with _staged(store, volume, findings) as (image, said), store.writing() as lease:
        same, before = store.ask_under_lease(
            lease, lambda db: (with_image(db, volume_sha256), split_of_patient(db, patient))
        )
        own = next((known for known in same if known.patient == patient), None)
        if own is None:
            case = _new_case(volume, volume_sha256, patient, image)
            case = _placed(store, case, same, before)
            _publish(store, lease, case, image, said)
            return Imported(case, True)
        if not existing_ok:
            raise _duplicate(store, own)
        case = _stored_before(store, own.id)
        saying = said.saying if said else None
    if findings is not None and saying is not None:
        add_version(store, case.id, findings, saying)
    return Imported(case, False)


def _check_image(volume_sha256: str, findings: Findings, where: str) -> None:
    """Refuse findings of another image: in a data set of one grid, many patients share it.

    Raises:
        InputError: ``other-image``.
    """
    found_in = findings.provenance.input_sha256.split()
    if found_in and volume_sha256 not in found_in:
        raise InputError(
            "other-image",
            "the findings were made in another image on the same grid",
            where=where,
            todo="give the findings of this very image, or run the model on it",
        )


@dataclass(frozen=True)
class _Said:
    """Findings written to disk, and who says them."""

    staged: StagedFindings
    saying: Saying


def _new_case(volume: Volume, volume_sha256: str, patient: str, image: Staged) -> CaseRecord:
    return CaseRecord(
        id=secrets.token_hex(6),
        patient=patient,
        split="train",  # until it is placed
        split_reason="",
        imported=now(),
        name=volume.name,
        modality=volume.modality,
        geometry=volume.geometry,
        dtype=volume.array.dtype.name,
        image=image.blob,
        volume_sha256=volume_sha256,
        source=volume.source,
        notes=volume.notes,
    )


def _publish(
    store: StoreFolder, lease: Lease, case: CaseRecord, image: Staged, said: _Said | None
) -> None:
    """Make a case visible, by one rename of its complete folder."""
    with said_plainly(store.root):
        store.blobs.keep(image)
        if said is not None:
            said.staged.keep(store.blobs)
        made = _written(store, case, said)
        try:
            lease.check()
            store.log.begin(case.id)
            os.rename(made, store.cases.case_folder(case.id))
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        sync_folder(store.cases.folder)
    store.committed(case.id)


@contextlib.contextmanager
def _staged(
    store: StoreFolder, volume: Volume, findings: Findings | None
) -> Iterator[tuple[Staged, _Said | None]]:
    """Write image and findings under temporary names, before anybody has to wait for us."""
    with contextlib.ExitStack() as stack:
        image = stack.enter_context(
            store.blobs.staged(
                "nrrd", lambda file: write_voxels(file, volume.array, volume.geometry)
            )
        )
        said = None
        if findings is not None:
            staged = stack.enter_context(staged_findings(store.blobs, findings))
            said = _Said(staged, _saying_of_model(findings, staged))
        yield image, said


def _saying_of_model(findings: Findings, staged: StagedFindings) -> Saying:
    """Return who says it; the same findings are the same act, so that a retry is known."""
    ran = findings.provenance
    author = f"{ran.model} {ran.model_version}".strip() or "unknown model"
    blobs = [staged.data.blob.name, staged.label_map.blob.name if staged.label_map else ""]
    return Saying("ai", author, act="ai-" + hashlib.sha256(" ".join(blobs).encode()).hexdigest())


def _placed(
    store: StoreFolder, case: CaseRecord, same: list[KnownImage], before: Split | None
) -> CaseRecord:
    """Return the case in its split, with what is to be said of identical images."""
    record = store.record
    split, reason = before, "patient"
    if split is None and same:
        split, reason = same[0].split, "same-image"
    if split is None:
        split, reason = drawn_split(case.patient, record.salt, record.ratios), "drawn"
    notes = case.notes
    if same:
        first = same[0]
        text = f"this very image is case {first.id} of patient {first.patient}"
        if any(known.split != split for known in same):
            raise InputError(
                "split-conflict",
                f"{text}, which is in '{first.split}'; patient {case.patient} is in '{split}'",
                where=store.root,
                todo="check the patient id: the two seem to be the same person",
            )
        notes += (Note("same-image", text),)
    ids = tuple(known.id for known in same)
    return replace(case, split=split, split_reason=reason, notes=notes, same_image_as=ids)


def _written(store: StoreFolder, case: CaseRecord, said: _Said | None) -> Path:
    """Write the case's folder, complete and flushed, under a name that nobody reads."""
    made = temporary_name(store.cases.folder)
    try:
        os.mkdir(made)
        os.mkdir(made / "versions")
        write_inside(made / "case.json", sealed(case.to_json()))
        if said is not None:
            version = version_of(store, case, 1, said.saying, said.staged)
            write_inside(made / "versions" / "0001.json", sealed(version.to_json()))
        sync_folder(made / "versions")
        sync_folder(made)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return made


def _duplicate(store: StoreFolder, known: KnownImage) -> InputError:
    return InputError(
        "duplicate-image",
        f"this very image of patient {known.patient} is case {known.id} already",
        where=store.root,
        todo="add findings to that case; or pass --existing to go on with it",
    )


def _stored_before(store: StoreFolder, case_id: str) -> CaseRecord:
    """Return a case; whoever imported it may have died before it was flushed."""
    case = store.cases.case(case_id)
    with said_plainly(store.root):
        sync_file(store.blobs.check(case.image))
        sync_folder(store.blobs.path_of(case.image).parent)
        sync_folder(store.cases.folder)
    return case
