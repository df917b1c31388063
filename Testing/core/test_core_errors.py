from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedDetectLib.core import errors
from MedDetectLib.core.errors import Cancelled, InputError, MedDetectError

EXIT_CODES = {
    "MedDetectError": 70,
    "InputError": 65,
    "ModelError": 78,
    "BackendUnavailable": 69,
    "WorkerFailed": 69,
    "StoreError": 74,
    "Cancelled": 130,
}


def classes():
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }


def test_the_exported_names_are_exactly_the_tree():
    assert set(errors.__all__) == set(classes()) == set(EXIT_CODES)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_every_error_is_in_the_tree_with_its_exit_code(name):
    kind = getattr(errors, name)
    assert issubclass(kind, MedDetectError)
    assert kind.exit_code == EXIT_CODES[name]
    assert not issubclass(kind, (OSError, ValueError))


@pytest.mark.parametrize("name", EXIT_CODES)
def test_the_module_says_the_tree_it_has(name):
    line = next(row for row in errors.__doc__.splitlines() if row.split()[:1] == [name])
    assert str(EXIT_CODES[name]) in line


@given(st.text(), st.text(), st.text())
def test_an_error_is_one_line_whatever_it_is_told(what, where, todo):
    line = str(InputError("some-code", what, where=where, todo=todo))
    assert len(line.splitlines()) == 1
    assert line.startswith("error[some-code]:")


def test_an_error_says_what_where_and_what_to_do():
    error = InputError("gap", "two\nslices\r\n miss", where=Path("/a b/c"), todo=" re-export ")
    assert str(error) == "error[gap]: two slices miss; /a b/c; re-export"
    assert str(InputError("gap", "two slices miss")) == "error[gap]: two slices miss"
    assert (error.code, error.what, error.where, error.todo) == (
        "gap",
        "two\nslices\r\n miss",
        "/a b/c",
        " re-export ",
    )


def test_one_error_may_carry_its_own_exit_code():
    assert errors.StoreError("busy", "x", exit_code=75).exit_code == 75
    assert errors.StoreError.exit_code == 74


def test_cancelled_needs_no_words():
    assert str(Cancelled()) == "error[cancelled]: stopped on request"


@pytest.mark.parametrize("name", sorted(set(EXIT_CODES) - {"Cancelled"}))
def test_an_error_survives_the_way_between_processes(name):
    error = getattr(errors, name)("code", "what", where="w", todo="t", exit_code=99)
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(back) == str(error)
        assert back.exit_code == 99
