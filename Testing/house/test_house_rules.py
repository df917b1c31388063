"""Rules of the house that a reader would otherwise have to remember."""

from __future__ import annotations

import ast
import fnmatch
import re

BANNED_WORDS = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common|stuff)(_|$)", re.I)
BANNED_IN_CLASS = re.compile(r"Manager|Helper|Util(?![a-z])|Utils")
OUTERMOST_DOORS = [
    "inference/worker/*.py",
    "adapters/cli/*.py",
    "adapters/batch/lane_process.py",
    "adapters/mrml/desk/observers.py",  # called by VTK, which prints and forgets
    "adapters/mrml/desk/steps.py",  # of a thread; raised again by whoever waits for it
]
"""Here a broad `except` may answer for the whole program, or thread."""
TRANSLATORS = ["inference/backends/*.py", "cases/dicom_*.py", "cases/clinical/dicom_objects.py"]
"""Third parties with a dozen kinds of exception: a broad `except` here must raise ours."""
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNNERS = {"eval", "exec", "compile", "__import__"}


def calls(sources):
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                yield source, node, ast.unparse(node.func)


def test_no_file_or_class_is_named_after_nothing(sources):
    files = [s.path for s in sources if any(
        BANNED_WORDS.search(part.removesuffix(".py")) for part in s.path.split("/"))]  # fmt: skip
    classes = [
        f"{source.path}: {node.name}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and BANNED_IN_CLASS.search(node.name)
    ]
    assert files == []
    assert classes == []


def test_nothing_is_executed_that_came_from_outside(sources):
    wrong = [
        f"{source.path}:{node.lineno} {name}"
        for source, node, name in calls(sources)
        if name in RUNNERS or name in ("os.system", "os.popen", "subprocess.getoutput")
    ]
    shells = [
        f"{source.path}:{node.lineno}"
        for source, node, _ in calls(sources)
        for keyword in node.keywords
        if keyword.arg == "shell" and getattr(keyword.value, "value", True) is not False
    ]
    assert wrong == []
    assert shells == []


def test_no_pickle_is_ever_opened(sources):
    imports = [
        f"{source.path}:{found.line} {found.module}"
        for source in sources
        for found in source.imports
        if found.module.split(".")[0] in UNPICKLERS
    ]
    loads = [
        f"{source.path}:{node.lineno}"
        for source, node, name in calls(sources)
        if name in ("torch.load", "np.load", "numpy.load")
        and not any(
            (k.arg, getattr(k.value, "value", None)) in (("weights_only", True),
                                                         ("allow_pickle", False))
            for k in node.keywords
        )
    ]  # fmt: skip
    assert imports == []
    assert loads == []


def is_broad(handler):
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def test_broad_excepts_stand_only_at_the_outermost_doors_or_raise_an_error_of_ours(sources):
    wrong = []
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ExceptHandler) or not is_broad(node):
                continue
            last = node.body[-1]
            raised = ast.unparse(last.exc) if isinstance(last, ast.Raise) and last.exc else ""
            fine = (
                (isinstance(last, ast.Raise) and last.exc is None)
                or any(fnmatch.fnmatch(source.path, door) for door in OUTERMOST_DOORS)
                or (
                    any(fnmatch.fnmatch(source.path, file) for file in TRANSLATORS)
                    and raised.startswith(("InputError(", "ModelError(", "BackendUnavailable("))
                )
            )
            if not fine:
                wrong.append(f"{source.path}:{node.lineno}")
    assert wrong == []


def test_no_bare_except_anywhere(sources):
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert wrong == []


def identifiers(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value.lineno


def test_lps_exists_only_where_files_are_read_and_written(sources):
    wrong = sorted(
        {
            f"{source.path}:{line} {name}"
            for source in sources
            if source.room != "cases"
            for name, line in identifiers(source.tree)
            if re.search(r"(^|_)lps(_|$)", name, re.I)
        }
    )
    assert wrong == []


def test_no_bare_spacing_or_shape_is_passed_around_in_the_rooms_of_geometry(sources):
    """`spacing_kji_mm`, `shape_kji`: the order and the unit stand in the name."""
    wrong = sorted(
        {
            f"{source.path}:{node.lineno} {argument.arg}"
            for source in sources
            if source.room in ("core", "models", "inference")
            and not source.path.startswith("inference/worker/")  # arrays of any kind
            for node in ast.walk(source.tree)
            if isinstance(node, ast.FunctionDef)
            for argument in [*node.args.args, *node.args.kwonlyargs]
            if argument.arg in ("spacing", "shape", "size_mm", "origin", "affine", "matrix")
        }
    )
    assert wrong == []


def test_no_file_knows_where_it_was_written(sources, library):
    pattern = re.compile(r"(?<![\w.])/(work|root|home|Users|tmp|mnt)(/|\b)|[A-Z]:\\\\Users")
    wrong = []
    for path in sorted(p for p in library.rglob("*") if p.suffix in (".py", ".json", ".ui")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if pattern.search(line):
                wrong.append(f"{path.relative_to(library)}:{number} {line.strip()[:80]}")
    assert wrong == []


def test_nothing_is_printed_outside_the_command_line(sources):
    wrong = [
        f"{source.path}:{node.lineno}"
        for source, node, name in calls(sources)
        if name == "print" and source.room in ("core", "models", "cases", "inference", "review")
        and not any(k.arg == "file" for k in node.keywords)
    ]  # fmt: skip
    assert wrong == []


def test_every_error_of_ours_has_a_kebab_case_code_and_one_line(sources):
    kinds = {"InputError", "ModelError", "BackendUnavailable", "WorkerFailed", "StoreError",
             "MedDetectError"}  # fmt: skip
    wrong = []
    for source, node, name in calls(sources):
        if name.split(".")[-1] not in kinds or not node.args:
            continue
        code = node.args[0]
        if isinstance(code, ast.Constant) and not re.fullmatch(
            r"[a-z0-9]+(-[a-z0-9]+)*", str(code.value)
        ):
            wrong.append(f"{source.path}:{node.lineno} {code.value!r}")
    assert wrong == []


def test_errors_are_raised_never_asserted_on_what_comes_from_outside(sources):
    """`python -O` drops asserts: they may state only what the code itself made sure of."""
    wrong = [
        f"{source.path}:{node.lineno} {ast.unparse(node.test)}"
        for source in sources
        if source.room in ("core", "models", "inference", "cases")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assert)
        and not re.match(r"isinstance\(|.* is not None$", ast.unparse(node.test))
    ]
    assert wrong == []


def test_every_python_file_says_in_its_first_lines_what_it_is_for(sources):
    silent = [s.path for s in sources if not (ast.get_docstring(s.tree) or "").strip()]
    assert silent == []


def test_files_stay_short_enough_to_read(sources):
    """About 300 lines is the habit; half as much again is where it ends."""
    long = {s.path: s.text.count("\n") for s in sources if s.text.count("\n") > 450}
    assert long == {}
