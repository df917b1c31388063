"""Timing in turns, rows, the table and the command; the clock is made up where it counts."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from MedDetectLib.adapters.cli import bench_command
from MedDetectLib.adapters.cli.main import main
from MedDetectLib.core.errors import BackendUnavailable, InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.comparison import (
    Comparison,
    Measured,
    Promise,
    Row,
    Setting,
    chosen,
    rows_of,
)
from MedDetectLib.evaluation.bench.interleaved import Timed, interleaved, seconds_text
from MedDetectLib.evaluation.bench.machine import machine_line, processor, versions
from MedDetectLib.evaluation.bench.table import markdown


def plain_scan(shape_kji, spacing_kji_mm):
    rng = np.random.default_rng(1)
    array = rng.integers(-1000, 400, shape_kji).astype(np.int16)
    geometry = Geometry.from_axes(shape_kji, spacing_kji_mm or (2.0, 0.7, 0.8), (0.0, 0.0, 0.0))
    return Volume(array, geometry, modality="CT")


SETTING = Setting(plain_scan, quick=True)


def comparison(measure, names=("group/row",), target=2.0):
    return Comparison(
        tuple(Promise(name, "somebody else", target) for name in names), ("numpy",), measure
    )


def fixed(ratio=3.0, equal=True):
    return comparison(lambda setting: {"group/row": Measured(ratio, equal, "as measured")})


class Clock:
    """Tells the time that work has been told to take."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        left = iter(seconds)

        def do():
            self.log.append(name)
            self.now += next(left)
            return f"{name} {len(self.log)}"

        return do


def test_sides_take_turns_and_the_warm_up_is_not_counted():
    clock = Clock()
    sides = {"a": clock.work("a", [100, 1, 5, 3]), "b": clock.work("b", [100, 20, 10, 30])}
    timed = interleaved(sides, 3, warm_ups=1, clock=clock)
    assert clock.log == ["a", "b"] * 4
    assert timed["a"].seconds == (1, 5, 3)
    assert timed["a"].median == 3
    assert timed["b"].median == 20


def test_the_output_kept_is_the_last_rounds():
    clock = Clock()
    timed = interleaved({"a": clock.work("a", [1, 1, 1])}, 2, clock=clock)
    assert timed["a"].output == "a 3"


def test_an_even_number_of_rounds_has_a_median_too():
    assert Timed((1.0, 2.0, 4.0, 9.0), None).median == 3.0


def test_a_ratio_above_one_means_that_we_are_faster():
    ours, theirs = Timed((1.0, 1.0, 1.0), None), Timed((4.0, 4.0, 4.0), None)
    assert ours.times_faster_than(theirs) == 4.0
    assert theirs.times_faster_than(ours) == 0.25


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00123, "1.23 ms"), (0.25, "250 ms"), (2.3456, "2.35 s"), (1234.0, "1234 s")],
)
def test_durations_are_written_with_three_figures(seconds, text):
    assert seconds_text(seconds) == text


def test_a_row_carries_promise_measurement_machine_and_versions():
    (row,) = rows_of(fixed(), Setting(plain_scan))
    data = row.to_json()
    assert set(data) == {"name", "baseline", "ratio", "target", "equal_output", "detail"}
    assert (data["name"], data["baseline"]) == ("group/row", "somebody else")
    assert (data["ratio"], data["target"], data["equal_output"]) == (3.0, 2.0, True)
    assert data["detail"].startswith("as measured; ")
    assert f"numpy {np.__version__}" in data["detail"]
    assert "cores" in data["detail"]


def test_a_quick_row_says_that_its_figures_mean_nothing():
    (row,) = rows_of(fixed(), SETTING)
    assert row.detail.startswith("tiny input, figures mean nothing")


def test_a_target_that_follows_from_the_measurement_replaces_the_promised_one():
    measured = {"group/row": Measured(1.0, True, "", target=0.9)}
    (row,) = rows_of(comparison(lambda setting: measured), SETTING)
    assert row.target == 0.9


def test_a_peer_that_is_not_installed_gives_rows_that_say_what_to_install():
    def measure(setting):
        import no_such_peer.inner  # noqa: F401

    rows = rows_of(comparison(measure, ("group/time", "group/memory")), SETTING)
    assert [row.name for row in rows] == ["group/time", "group/memory"]
    for row in rows:
        assert row.ratio is None
        assert row.equal_output is None
        assert row.target == 2.0
        assert row.detail == "no_such_peer is not installed: pip install numpy"


def test_a_precision_this_machine_lacks_gives_a_row_that_says_so():
    def measure(setting):
        raise BackendUnavailable("no-precision", "no bf16 here")

    (row,) = rows_of(comparison(measure), SETTING)
    assert row.ratio is None
    assert "no bf16 here" in row.detail


def test_a_broken_import_of_our_own_is_not_taken_for_a_missing_peer():
    def measure(setting):
        import MedDetectLib.no_such_room  # noqa: F401

    with pytest.raises(ImportError):
        rows_of(comparison(measure), SETTING)


def test_rows_are_chosen_by_name_or_group_in_the_order_of_the_table():
    everything = [
        comparison(None, ("a/one", "a/two")),
        comparison(None, ("b/one",)),
        comparison(None, ("ab/one",)),
    ]
    assert list(chosen(everything, [])) == everything
    assert list(chosen(everything, ["b", "a/two"])) == everything[:2]
    with pytest.raises(InputError, match="no comparison 'c'") as refused:
        list(chosen(everything, ["a", "c"]))
    assert "a/one, a/two, ab/one, b/one" in str(refused.value)


def test_the_table_says_reached_missed_different_and_not_run():
    rows = [
        Row("a", "x|y", 3.0, 2.0, True, "fine"),
        Row("b", "z", 1.0, 2.0, False, "differs"),
        Row("c", "z", None, 2.0, None, "install z"),
        Row("d", "z", 5.0, None, True, "no target"),
    ]
    lines = markdown(rows, "a machine").splitlines()
    assert lines[0] == "Measured on: a machine"
    assert lines[4] == "| a | x/y | 3x | 2x reached | yes | fine |"
    assert lines[5] == "| b | z | 1x | 2x missed | **NO** | differs |"
    assert lines[6] == "| c | z | not run | 2x |  | install z |"
    assert lines[7] == "| d | z | 5x |  | yes | no target |"


def test_the_machine_is_named_without_host_and_paths():
    import platform

    line = machine_line(("numpy", "no-such-package"))
    assert processor() in line
    assert "no-such-package" not in line
    assert platform.node() not in line.split()
    assert "/" not in line
    assert versions(("no-such-package",)) == []


# --- the command ------------------------------------------------------------------------


def test_equal_outputs_end_with_0_and_a_file_of_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench_command, "comparisons", lambda: [fixed(), fixed(4.0)])
    path = tmp_path / "rows.json"
    assert main(["bench", "--quick", "--json", str(path)]) == 0
    rows = json.loads(path.read_text("utf-8"))
    assert [row["ratio"] for row in rows] == [3.0, 4.0]
    assert "| group/row |" in capsys.readouterr().out


def test_unequal_outputs_are_printed_and_end_with_70(monkeypatch, capsys):
    monkeypatch.setattr(bench_command, "comparisons", lambda: [fixed(equal=False), fixed()])
    assert main(["bench", "--quick"]) == 70
    printed = capsys.readouterr()
    assert "**NO**" in printed.out
    assert "error[unequal-output]" in printed.err
    assert "group/row" in printed.err


def test_a_missing_peer_is_printed_and_is_no_failure(monkeypatch, capsys):
    def measure(setting):
        import no_such_peer  # noqa: F401

    monkeypatch.setattr(bench_command, "comparisons", lambda: [comparison(measure)])
    assert main(["bench"]) == 0
    assert "| not run |" in capsys.readouterr().out


def test_an_unknown_row_is_refused_with_the_names_there_are(capsys):
    assert main(["bench", "no-such-row"]) == 65
    assert "resample/scipy" in capsys.readouterr().err


def test_every_row_promised_has_a_name_of_its_own():
    names = [promise.name for each in bench_command.comparisons() for promise in each.promises]
    assert len(names) == len(set(names))
    assert all(name.count("/") == 1 for name in names)


def test_listing_the_comparisons_imports_no_peer():
    code = (
        "import sys; from MedDetectLib.adapters.cli import bench_command;"
        "bench_command.comparisons();"
        "print({'torch', 'monai', 'nnunetv2', 'slicer', 'SimpleITK', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
