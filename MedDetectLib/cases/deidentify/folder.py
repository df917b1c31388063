"""A folder of files without who the patient is, and the proof of it.

    proof = deidentify_folder("in", "out", "keys/study.json")
    proof.set_aside  # {"burned-in-annotation": 2}

The originals are never changed. What leaves lies in `out`, with ``proof.json``; who became
whom lies in the key, which stays here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key, open_key
from MedDetectLib.cases.deidentify.one_file import Kind, Taken, take_file
from MedDetectLib.cases.deidentify.proof import Checked, Proof, check_outputs, write_proof
from MedDetectLib.cases.deidentify.suspicion import ALWAYS, REASONS
from MedDetectLib.cases.durable import write_inside
from MedDetectLib.cases.whole_folder import check_free, whole_folder
from MedDetectLib.core.errors import InputError

__all__ = ["Options", "deidentify_folder"]


@dataclass(frozen=True)
class Options:
    """How it is done.

    Args:
        shift_dates: move each patient's dates by the same number of days (one to ten years
            back, kept in the key) instead of taking them out.
        accept: reasons that do not set a file aside, see `suspicion.REASONS`.
        quarantine: a new folder for copies of what was set aside; None leaves it where it is.
        whole: refuse to go on when anything is set aside.

    Raises:
        InputError: ``bad-reason``.
    """

    shift_dates: bool = False
    accept: frozenset[str] = frozenset()
    quarantine: Path | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        for reason in self.accept:
            if reason not in REASONS or reason in ALWAYS:
                raise InputError(
                    "bad-reason",
                    f"'{reason}' cannot be accepted",
                    todo=f"one of {', '.join(r for r in REASONS if r not in ALWAYS)}",
                )


@dataclass
class _Run:
    """What is known so far."""

    made: Path
    key: Key
    options: Options
    identity: Identity = field(default_factory=Identity)
    outputs: dict[str, Taken] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    names: dict[str, str] = field(default_factory=dict)

    def take(self, path: Path, relative: str) -> None:
        """Clean one file and write it, or set it aside."""
        taken = take_file(
            path, self.key, self.fingerprints,
            shift_dates=self.options.shift_dates, accept=self.options.accept,
        )  # fmt: skip
        self.identity.update(taken.gone)
        if taken.reasons:
            self.set_aside[relative] = taken.reasons
            return
        name = self._name(taken, relative)
        place = self.made / name
        os.makedirs(place.parent, exist_ok=True)
        write_inside(place, taken.data)
        self.fingerprints[taken.old_sha256] = hashlib.sha256(taken.data).hexdigest()
        self.outputs[name] = taken.without_data()
        self.originals[name] = relative

    def drop(self, name: str) -> None:
        """Take a written file back: something of the patient was left in it."""
        (self.made / name).unlink()
        del self.outputs[name]
        self.set_aside[self.originals.pop(name)] = ("identity-remains",)

    def _name(self, taken: Taken, relative: str) -> str:
        """Return a new name that holds nothing of the old one."""
        if taken.kind is Kind.DICOM:
            study = self._numbered(f"{taken.patient}/study", taken.study)
            series = self._numbered(f"{study}/series", taken.series)
            self.numbers[series] += 1
            return f"{series}/image-{self.numbers[series]:06d}.dcm"
        parent = ""
        for part in relative.split("/")[:-1]:
            parent = self._numbered(f"{parent}folder", f"{parent}\0{part}") + "/"
        if taken.name:
            return f"{parent}{taken.name}"
        self.numbers[parent] += 1
        return f"{parent}file-{self.numbers[parent]:06d}{taken.suffix}"

    def _numbered(self, prefix: str, what: str) -> str:
        known = f"{prefix}\0{what}"
        if known not in self.names:
            self.numbers[f"{prefix}#"] += 1
            self.names[known] = f"{prefix}-{self.numbers[f'{prefix}#']:03d}"
        return self.names[known]


def deidentify_folder(
    source: str | PathLike[str],
    out: str | PathLike[str],
    key_file: str | PathLike[str],
    options: Options | None = None,
) -> Proof:
    """Clean every file of a folder into a new one, and look through the result again.

    All of `out` is there, proof included, or nothing. A file that cannot be cleaned, or that
    may show the name in its pixels, is set aside and counted, never passed on.

    Args:
        source: a folder, or one file.
        out: not there yet, or empty; not inside `source`.
        key_file: keeps who became whom; made with mode 0600, used again by later runs.
        options: how.

    Raises:
        InputError: ``no-file``, ``nothing-to-export`` when all was set aside (65); ``set-aside``
            (see `Options.whole`), ``key-inside``, ``key-open``, ``out-inside``,
            ``quarantine-inside`` (77); ``bad-key``.
        StoreError: ``exists``, ``cannot-write``, ``disk-full`` (73), ``busy`` (75).
    """
    source, out, options = Path(source), Path(out), options or Options()
    files = list(_files(source))
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(
            "out-inside", "the result would lie among the originals", where=out,
            todo="give another folder", exit_code=77,
        )  # fmt: skip
    check_free(out)
    if options.quarantine is not None:
        check_free(options.quarantine)
        if options.quarantine.resolve().is_relative_to(out.resolve()):
            raise InputError(
                "quarantine-inside", "what is set aside would lie in the export",
                where=options.quarantine, todo="keep it apart", exit_code=77,
            )  # fmt: skip
    with open_key(Path(key_file), out) as (key, save), whole_folder(out) as made:
        run = _Run(made, key, options)
        for path in sorted(files, key=lambda path: (path.suffix.lower() == ".json", path)):
            run.take(path, _relative(path, source))
        checked = check_outputs(made, run.outputs, run.identity, key, options.shift_dates)
        for name in checked.guilty:
            run.drop(name)
        if not run.outputs or (options.whole and run.set_aside):
            raise _refused(run)
        proof = write_proof(made, _facts(run, checked))
        key.runs.append(
            {"out": out.name, "proof": proof.sha256, "files": run.originals,
             "set_aside": {name: list(why) for name, why in run.set_aside.items()}}
        )  # fmt: skip
        save()
        if options.quarantine is not None and run.set_aside:
            _copy_aside(source, options.quarantine, run.set_aside)
    return proof


def _facts(run: _Run, checked: Checked) -> dict[str, Any]:
    """Return what the proof states of the files."""
    totals: Counter[str] = Counter()
    for taken in run.outputs.values():
        totals.update(taken.counts)
    coincidences = Counter(word for t in run.outputs.values() for word in t.coincidences)
    why = Counter(reason for reasons in run.set_aside.values() for reason in reasons)
    files = {}
    for name, taken in sorted(run.outputs.items()):
        files[name] = {
            "sha256": hashlib.sha256((run.made / name).read_bytes()).hexdigest(),
            "kind": taken.kind.value,
            "before": dict(sorted(taken.counts.items())),
            "after": {"not_as_the_table_says": 0, "identifying_values": 0},
        }
    return {
        "options": {
            "dates": "shifted" if run.options.shift_dates else "removed",
            "accepted": sorted(run.options.accept),
        },
        "files": files,
        "actions": dict(sorted(totals.items())),
        "coincidences": dict(sorted(coincidences.items())),
        "set_aside": dict(sorted(why.items())),
        "checks": {
            "files_read_again": checked.files,
            "values_looked_for": len(run.identity.texts) + len(run.identity.uids),
            "files_taken_back": len(checked.guilty),
            "found_in_what_is_left": 0,
        },
    }


def _files(source: Path) -> Iterator[Path]:
    """Yield every file, hidden ones too."""
    if source.is_file():
        yield source
        return
    if not source.is_dir():
        raise InputError("no-file", "it is not there", where=source, todo="check the path")

    def refuse(error: OSError) -> None:
        raise InputError(
            "no-file", f"a folder cannot be read ({error.strerror})", where=error.filename or "",
            todo="check that you may read it",
        )  # fmt: skip

    for root, folders, names in os.walk(source, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            yield Path(root, name)


def _relative(path: Path, source: Path) -> str:
    return path.name if path == source else path.relative_to(source).as_posix()


def _refused(run: _Run) -> InputError:
    why = Counter(reason for reasons in run.set_aside.values() for reason in reasons)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
    if run.outputs:
        return InputError(
            "set-aside",
            f"part of it may not leave ({counts})",
            todo="look for the patient's name in class names and texts",
            exit_code=77,
        )
    return InputError(
        "nothing-to-export",
        f"no file may leave ({counts or 'there is none'})",
        todo="look at the files, then accept a reason by its name",
    )


def _copy_aside(source: Path, folder: Path, set_aside: dict[str, tuple[str, ...]]) -> None:
    """Copy what was set aside as it is, for somebody to look at; nobody else may."""
    with whole_folder(folder) as made:
        made.chmod(0o700)
        for name in set_aside:
            place = made / name
            os.makedirs(place.parent, exist_ok=True)
            original = source if source.is_file() else source / name
            shutil.copyfile(original, place)
