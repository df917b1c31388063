"""Reads .ui files and Python source for names that Slicer's Python would not know.

What is found is what can be told without running: classes and members of `qt`, `ctk` and
`slicer`, widgets of a .ui file reached as `ui.<name>`, and variables and attributes that
are made by calling such a class. `wrong_names` gives one line for each name that is not
listed.
"""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from Testing.harness import api
from Testing.harness.links import meta_of, normal_signature

_QT_MODULES = ("qt", "ctk")
_UI_ONLY = {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "margin", "sizeHint"}
"""What .ui files say of layouts and spacers that is no property."""


def ui_classes(path: Path) -> dict[str, str]:
    """Return the full class name of every named widget in a .ui file.

    Raises:
        KeyError: a class that Slicer does not list.
    """
    found = {}
    for widget in ElementTree.parse(path).iter("widget"):
        listed = api.full_name(widget.get("class", ""))
        if listed is None:
            raise KeyError(f"{path.name}: Slicer has no class {widget.get('class')}")
        found[widget.get("name", "")] = listed
    return found


def wrong_in_ui(path: Path) -> list[str]:
    """Return the properties, signals and slots in a .ui file that its classes do not have."""
    classes, wrong = ui_classes(path), []
    tree = ElementTree.parse(path)
    for widget in tree.iter("widget"):
        listed = classes[widget.get("name", "")]
        known = api.members(listed)
        for given in widget.findall("property"):
            name = given.get("name", "")
            dynamic = given.get("stdset") == "0"
            if not dynamic and name not in known.properties | known.values:
                wrong.append(f"{path.name}: {listed} '{widget.get('name')}' has no '{name}'")
    for wire in tree.iter("connection"):
        sender, receiver = wire.findtext("sender", ""), wire.findtext("receiver", "")
        signal, slot = wire.findtext("signal", ""), wire.findtext("slot", "")
        problem = _wrong_signal(classes.get(sender, ""), signal)
        if problem:
            wrong.append(f"{path.name}: {sender}: {problem}")
        members = api.members(classes[receiver]).methods if receiver in classes else ()
        if slot.split("(")[0] not in members:
            wrong.append(f"{path.name}: {receiver} has no slot '{slot}'")
    return wrong


def _wrong_signal(listed: str, text: str) -> str:
    if not api.is_class(listed):
        return f"there is no class for '{text}'"
    known = api.members(listed)
    name = text.split("(")[0].strip()
    if name not in known.signals:
        return f"{listed} has no signal '{text}'"
    if "(" not in text:
        return f"connect('{text}') is no signature"
    arguments = normal_signature(text).partition("(")[2][:-1]
    declared = known.signatures.get(name) or _qt_signatures(listed, name)
    if declared is not None and arguments not in declared:
        return f"{listed}.{name} has the arguments {declared}, not '{arguments}'"
    return ""


def _qt_signatures(listed: str, name: str) -> tuple[str, ...] | None:
    """Return a signal's argument lists as Qt declares them; None where Qt cannot be asked."""
    from Testing.harness import faults, modules, proxy

    try:
        native = proxy._listed_base(modules.find_class(listed)).NATIVE
    except (AttributeError, faults.StandInLacks):
        return None
    meta = meta_of(native)
    every = [meta.method(at) for at in range(meta.methodCount())]
    texts = [bytes(m.methodSignature().data()).decode() for m in every]
    found = [t.partition("(")[2][:-1] for t in texts if t.split("(")[0] == name]
    return tuple(found) or None


class _Reader(ast.NodeVisitor):
    """Walks one file; `kinds` maps 'self.x' or 'x' to the class it was made as."""

    def __init__(self, path: Path, ui: dict[str, str]) -> None:
        self.path, self.ui = path, ui
        self.kinds: dict[str, str] = {}
        self.wrong: list[str] = []
        self._called: set[int] = set()

    def say(self, node: ast.AST, text: str) -> None:
        self.wrong.append(f"{self.path.name}:{getattr(node, 'lineno', 0)}: {text}")

    def kind_of(self, node: ast.AST) -> str:
        """Return the full class name of what an expression gives, or nothing."""
        text = ast.unparse(node)
        if text in self.kinds:
            return self.kinds[text]
        if isinstance(node, ast.Call):
            made = ast.unparse(node.func)
            return made if api.is_class(made) else ""
        if isinstance(node, ast.Attribute) and _is_ui(node.value):
            return self.ui.get(node.attr, "")
        if text == "slicer.app":
            return "slicer.qSlicerApplication"
        return ""

    def learn(self, tree: ast.AST) -> None:
        """Remember what is made where; a name made as two classes is forgotten."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                kind, text = self.kind_of(node.value), ast.unparse(node.targets[0])
                if kind and self.kinds.get(text, kind) == kind:
                    self.kinds[text] = kind
                elif text in self.kinds and not isinstance(node.value, ast.Constant):
                    self.kinds[text] = ""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._check_module(node)
        kind = self.kind_of(node.value)
        if kind:
            known = api.members(kind)
            if node.attr not in known and node.attr not in api.PYTHONQT_OWN:
                self.say(node, f"{kind} has no '{node.attr}'")
            elif isinstance(node.ctx, ast.Store) and node.attr in (
                (known.methods | known.signals) - known.properties - known.values
            ):
                self.say(node, f"{kind}.{node.attr} cannot be set")
        elif _is_ui(node.value) and node.attr not in self.ui:
            self.say(node, f"the .ui file has no widget '{node.attr}'")
        self.generic_visit(node)

    def _check_module(self, node: ast.Attribute) -> None:
        parts = ast.unparse(node).split(".")
        if parts[0] in _QT_MODULES and len(parts) in (2, 3):
            listed = ".".join(parts[:2])
            if not api.is_class(listed):
                self.say(node, f"there is no {listed}")
            elif len(parts) == 3 and parts[2] not in api.members(listed):
                self.say(node, f"{listed} has no '{parts[2]}'")
        elif parts[0] == "slicer" and len(parts) == 2:
            name = parts[1]
            widget = name.startswith(("q", "ctk")) and name[1:2].isupper()
            top = api.listing()["python"]["slicer (top level)"]
            if widget and not api.is_class(f"slicer.{name}"):
                self.say(node, f"there is no slicer.{name}")
            elif not widget and not name.startswith("vtk") and name not in top:
                self.say(node, f"slicer has no '{name}'")
        elif (
            parts[:2] in (["slicer", "util"], ["slicer", "packaging"])
            and len(parts) == 3
            and ".".join(parts) not in api.listing()["python"]
        ):
            self.say(node, f"there is no {'.'.join(parts)}")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            kind, name = self.kind_of(node.func.value), node.func.attr
            known = api.members(kind) if kind else None
            only_value = known and name in known.properties and name not in known.methods
            if only_value:
                self.say(node, f"{kind}.{name} is a property, and not callable in PythonQt")
            if name in ("connect", "disconnect"):
                self._check_connect(node, kind)
            elif node.keywords and (kind or self.kind_of(node)):
                self.say(node, f"PythonQt takes no keyword arguments: {ast.unparse(node.func)}")
        self.generic_visit(node)

    def _check_connect(self, node: ast.Call, kind: str) -> None:
        if not node.args or not isinstance(node.args[0], ast.Constant):
            return
        text = node.args[0].value
        if not isinstance(text, str):
            return
        if kind:
            problem = _wrong_signal(kind, text)
        else:
            name = text.split("(")[0]
            every = (api.members(c) for c in api.listing()["classes"])
            problem = "" if any(name in m.signals for m in every) else f"no class has '{text}'"
        if problem:
            self.say(node, problem)


def _is_ui(node: ast.AST) -> bool:
    """Whether an expression is what childWidgetVariables gave: `ui`, `self.ui`, `panel.ui`."""
    return ast.unparse(node).split(".")[-1] == "ui"


def wrong_in_code(path: Path, ui: dict[str, str]) -> list[str]:
    """Return the names in one Python file that Slicer's Python would not know.

    Args:
        path: the file.
        ui: the widgets reached as `ui.<name>`, from `ui_classes`.
    """
    tree = ast.parse(path.read_text("utf-8"))
    reader = _Reader(path, ui)
    reader.learn(tree)
    reader.visit(tree)
    return sorted(set(reader.wrong))


def panel_sources(module: Path) -> Iterator[Path]:
    """Give every Python file of a module's folder that may touch Qt."""
    for path in sorted(module.rglob("*.py")):
        if "__pycache__" not in path.parts:
            yield path
