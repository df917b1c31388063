"""What the worker does with the models it keeps open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worker_samples import make_model, oblique_volume

from MedDetectLib import Findings, Watch
from MedDetectLib.core.errors import InputError
from MedDetectLib.inference.backends.choose import open_backend
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.worker import jobs as jobs_module
from MedDetectLib.inference.worker.detect_job import detect_job
from MedDetectLib.inference.worker.jobs import Jobs
from MedDetectLib.inference.worker.spares import Spares
from MedDetectLib.inference.worker.warm import WarmModels
from MedDetectLib.models.registry import find_model


def ask(jobs: Jobs, model: Path) -> dict[str, Any]:
    options = {"backend": "auto", "precision": "f32", "max_memory_bytes": None, "skip_empty": False}
    job = detect_job([oblique_volume()], model, Spares(), **options)
    for _ in job.fill or ():
        pass
    answer: dict[str, Any] = jobs.run(job.message, Watch())
    for array in job.arrays:
        array.close()
    return answer


@pytest.mark.parametrize("enough", [True, False])
def test_models_kept_warm_make_room_for_the_one_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: bool
) -> None:
    closed = []

    def opened(*given: Any) -> Any:
        backend = open_backend(*given)
        close = backend.close
        backend.close = lambda: (closed.append(given[1].name), close())
        return backend

    def in_little_memory(*given: Any, **options: Any) -> Findings:
        if not (closed and enough):
            raise InputError("not-enough-memory", "the run needs more")
        return detect(*given, **options)

    models = WarmModels(find_model, opened)
    jobs = Jobs(models)
    one, other = (make_model(tmp_path / name, 100.0) for name in ("one", "other"))
    assert ask(jobs, one)["findings"]["findings"]
    monkeypatch.setattr(jobs_module, "detect", in_little_memory)
    if enough:
        assert ask(jobs, other)["findings"]["findings"]
    else:
        with pytest.raises(InputError, match="not-enough-memory"):
            ask(jobs, other)
    assert closed == ["one"]
    assert len(models._models) == 1
