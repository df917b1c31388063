"""`python -m MedDetectLib.adapters.batch.lane_process`: runs case after case; see `lane.py`.

Reads the next case while the current one runs. Talks as the worker does: JSON lines, see
`docs/batch.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.adapters.batch.cases import BatchCase
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.worker.lifeline import end_now, post_guard, take_over_streams
from MedDetectLib.inference.worker.outbox import Outbox
from MedDetectLib.inference.worker.protocol import decode, error_to_json

if TYPE_CHECKING:
    from MedDetectLib.core.findings import Findings
    from MedDetectLib.core.volume import Volume
    from MedDetectLib.inference.model import Model

__all__ = ["main"]


@dataclass
class _Read:
    """A case whose images have been read, or could not be."""

    number: int
    case: BatchCase
    folder: Path
    volumes: list[Volume]
    error: MedDetectError | None
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Open the model, then do what is asked until the line closes; does not return."""
    commands, answers = take_over_streams()
    parser = argparse.ArgumentParser(description="one lane of 'meddetect batch'")
    parser.add_argument("--life", type=int)
    options = parser.parse_args(arguments)
    leads_group = options.life is not None
    if leads_group:
        post_guard(options.life)
    outbox = Outbox(answers, lambda: end_now(leads_group))
    outbox.start()
    # one case waits, read, while another runs: memory for two images, no more
    waiting: queue.Queue[_Read] = queue.Queue(maxsize=1)
    told: dict[str, Any] = decode(commands.readline())
    threading.Thread(target=_read_ahead, args=(commands, waiting, told, leads_group)).start()
    model = _open(told, outbox)
    while True:
        _do(waiting.get(), model, told, outbox)


def _open(told: dict[str, Any], outbox: Outbox) -> Model | None:
    """Open the model and say which it is; None when it cannot be opened, which is said."""
    from MedDetectLib.inference.model import load_model

    try:
        model = load_model(told["model"], told["backend"], told["precision"])
    except MedDetectError as error:
        outbox.put({"event": "no-model", "error": error_to_json(error)})
        return None
    card = model.card
    outbox.put(
        {
            "event": "ready",
            "model": card.name,
            "version": card.version,
            "sha256": card.weights_sha256,
        }
    )
    return model


def _read_ahead(
    commands: Any, waiting: queue.Queue[_Read], told: dict[str, Any], leads_group: bool
) -> None:
    """Read the images of each case that is asked for; end when nobody asks any more."""
    for line in iter(commands.readline, b""):
        asked = decode(line)
        case = BatchCase.from_json(asked["case"])
        volumes: list[Volume] = []
        error: MedDetectError | None = None
        start = time.perf_counter()
        try:
            volumes = _volumes(case, told)
        except MedDetectError as refused:
            error = refused
        except Exception as failure:  # the outermost door of this thread
            error = _bug(failure)
        seconds = time.perf_counter() - start
        waiting.put(_Read(asked["number"], case, Path(asked["folder"]), volumes, error, seconds))
    end_now(leads_group)


def _volumes(case: BatchCase, told: dict[str, Any]) -> list[Volume]:
    from MedDetectLib.cases.image_files import read_volume

    return [
        read_volume(
            path,
            series=case.series or None,
            accept=told["accept"],
            modality=case.modality or told["modality"] or None,
        )
        for path in case.paths
    ]


def _do(read: _Read, model: Model | None, told: dict[str, Any], outbox: Outbox) -> None:
    """Run one case and write its folder; say how it went."""
    outbox.put({"event": "begun", "number": read.number})
    answer: dict[str, Any] = {"event": "failed", "number": read.number}
    try:
        if read.error is not None:
            raise read.error
        assert model is not None
        findings, seconds = _findings(read, model, outbox)
        start = time.perf_counter()
        files = _write(read, findings, told)
        seconds["write"] = time.perf_counter() - start
        answer = {
            "event": "done",
            "number": read.number,
            "files": files,
            "result": _result(findings),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        }
    except MedDetectError as error:
        answer["error"] = error_to_json(error)
    except MemoryError as error:
        answer["error"] = error_to_json(
            MedDetectError(
                "out-of-memory",
                str(error) or "memory ran out",
                where=str(read.case.paths[0]),
                todo="use fewer --jobs, or a larger machine",
                exit_code=69,
            )
        )
    except Exception as error:  # the outermost door of this process
        answer["error"] = error_to_json(_bug(error))
    if answer["event"] == "failed":
        shutil.rmtree(read.folder, ignore_errors=True)
    outbox.put(answer)


def _findings(read: _Read, model: Model, outbox: Outbox) -> tuple[Findings, dict[str, float]]:
    from MedDetectLib.inference.detect import detect

    start = time.perf_counter()
    watch = Watch(lambda progress: outbox.progress(read.number, progress))
    findings = detect(read.volumes, model, watch)
    return findings, {"read": read.seconds, "detect": time.perf_counter() - start}


def _write(read: _Read, findings: Findings, told: dict[str, Any]) -> list[str]:
    from MedDetectLib.adapters.outputs import write_outputs

    _, files = write_outputs(read.volumes[0], findings, read.folder, scene=told["scene"])
    return sorted(files)


def _result(findings: Findings) -> dict[str, Any]:
    """Return what the summary says of findings."""
    names = {label.value: label.name for label in findings.labels}
    by_label: dict[str, int] = {}
    for item in findings:
        by_label[names[item.label]] = by_label.get(names[item.label], 0) + 1
    provenance = findings.provenance
    return {
        "findings": len(findings.items),
        "by_label": by_label,
        "best_score": max((item.score for item in findings), default=None),
        "largest_mm": max((item.diameter_mm for item in findings), default=None),
        "case_scores": {names[one.label]: one.score for one in findings.case_scores},
        "notes": [{"code": note.code, "text": note.text} for note in findings.notes],
        "backend": provenance.backend,
        "precision": provenance.precision,
        "device": provenance.device,
        "input_sha256": provenance.input_sha256,
    }


def _bug(error: Exception) -> MedDetectError:
    failure = MedDetectError(
        "bug", f"{type(error).__name__}: {error}", todo="report it with the case's status.json"
    )
    failure.__cause__ = error
    return failure


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
