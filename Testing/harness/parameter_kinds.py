"""The stand-in's parameter nodes: how a value of each annotated type lies in the node.

Values lie under the names Slicer 5.13 gives them (a list as `name.len`, `name.0`, ...), so
a scene saved here opens there. Types not met in this project's panel are refused by name.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import slicer

from Testing.harness import faults


class Default:
    """Annotation: the value a parameter has at first."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value


class Validator:
    """Annotation that refuses values: base of all."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("the value must not be None")


class IsInstance(Validator):
    def __init__(self, classtype: Any) -> None:
        self.classtype = classtype

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"the value must be a {self.classtype}, not {value!r}")


class WithinRange(Validator):
    def __init__(self, minimum: Any, maximum: Any) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


class Minimum(Validator):
    def __init__(self, minimum: Any) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"{value} is below {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum: Any) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"{value} is above {self.maximum}")


class Choice(Validator):
    def __init__(self, choices: Any) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is not one of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues: Any) -> None:
        self.excludedValues = excludedValues

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"{value!r} is one of the excluded {self.excludedValues}")


class _Hint:
    def __init__(self, value: Any) -> None:
        self.value = value


class Decimals(_Hint):
    """Annotation: digits a widget shows."""


class SingleStep(_Hint):
    """Annotation: a widget's step."""


class Label(_Hint):
    """Annotation: a widget's label, where one is made."""


def splitAnnotations(possiblyAnnotatedType: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without its annotations, and the annotations."""
    arguments = typing.get_args(Annotated[possiblyAnnotatedType, None])
    return arguments[0], arguments[1:-1]


def unannotatedType(possiblyAnnotatedType: Any) -> Any:
    """Return a type without its annotations."""
    return splitAnnotations(possiblyAnnotatedType)[0]


def findFirstAnnotation(annotationsList: Iterable[Any], annotationType: Any) -> Any:
    """Return the first annotation of a class, or None."""
    return next((a for a in annotationsList if isinstance(a, annotationType)), None)


def union_members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union of types, or nothing for any other type."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return ()


def is_node(kind: Any) -> bool:
    """Whether a type is a MRML node class."""
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def isNodeOrUnionOfNodes(datatype: Any) -> bool:
    """Whether a type is a node class, or several with or without None."""
    kind = unannotatedType(datatype)
    members = [unannotatedType(m) for m in union_members(kind)]
    return is_node(kind) or (bool(members) and all(is_node(m) or m is type(None) for m in members))


def getNodeTypes(datatype: Any) -> tuple[str, ...]:
    """Return the names of the node classes a type stands for."""
    kind = unannotatedType(datatype)
    kinds = [unannotatedType(m) for m in union_members(kind)] or [kind]
    if not isNodeOrUnionOfNodes(datatype):
        raise TypeError(f"{datatype} is no node class")
    return tuple(k().GetClassName() for k in kinds if is_node(k))


class Stored:
    """How values of one type lie in a parameter node."""

    def __init__(self, kind: Any, default: Any, checks: list[Validator]) -> None:
        self.kind, self._default, self.checks = kind, default, checks

    def default(self) -> Any:
        return self._default

    def check(self, value: Any) -> None:
        for check in self.checks:
            check.validate(value)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        self.check(value)
        node.SetParameter(name, self._text(value))

    def read(self, node: Any, name: str) -> Any:
        return self._value(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)

    def _text(self, value: Any) -> str:
        return str(value)

    def _value(self, text: str) -> Any:
        return self.kind(text)


class StoredBool(Stored):
    def _value(self, text: str) -> bool:
        return text == "True"


class StoredEnum(Stored):
    def _text(self, value: Any) -> str:
        return value.name

    def _value(self, text: str) -> Any:
        return self.kind[text]


class StoredNode(Stored):
    """A reference; the empty parameter of the same name says that it was set."""

    def write(self, node: Any, name: str, value: Any) -> None:
        self.check(value)
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class StoredRow(Stored):
    """A list or tuple, item by item."""

    def __init__(self, kind: Any, items: Callable[[int], Stored], fixed: int | None) -> None:
        super().__init__(kind, None, [])
        self._item, self._fixed = items, fixed

    def default(self) -> Any:
        return self.kind(self._item(at).default() for at in range(self._fixed or 0))

    def is_in(self, node: Any, name: str) -> bool:
        if self._fixed is not None:
            return all(self._item(at).is_in(node, f"{name}.{at}") for at in range(self._fixed))
        return bool(node.HasParameter(f"{name}.len"))

    def _count(self, node: Any, name: str) -> int:
        if self._fixed is not None:
            return self._fixed
        return int(node.GetParameter(f"{name}.len") or 0)

    def check(self, value: Any) -> None:
        if self._fixed is not None and len(value) != self._fixed:
            raise ValueError(f"{self._fixed} values are wanted, not {len(value)}")
        for at, item in enumerate(value):
            self._item(at).check(item)

    def write(self, node: Any, name: str, value: Any) -> None:
        self.check(value)
        with slicer.util.NodeModify(node):
            before = self._count(node, name) if self.is_in(node, name) else 0
            for at, item in enumerate(value):
                self._item(at).write(node, f"{name}.{at}", item)
            for at in range(len(value), before):
                self._item(at).remove(node, f"{name}.{at}")
            if self._fixed is None:
                node.SetParameter(f"{name}.len", str(len(value)))

    def read(self, node: Any, name: str) -> Any:
        count = self._count(node, name)
        items = [self._item(at).read(node, f"{name}.{at}") for at in range(count)]
        return tuple(items) if self.kind is tuple else WrittenBack(self, node, name, items)


class WrittenBack(list[Any]):
    """A list whose every change goes back into the parameter node."""

    def __init__(self, stored: Stored, node: Any, name: str, items: list[Any]) -> None:
        super().__init__(items)
        self._where = (stored, node, name)


def _writing_back(method: str) -> Any:
    def change(self: WrittenBack, *arguments: Any, **named: Any) -> Any:
        before = list(self)
        result = getattr(list, method)(self, *arguments, **named)
        stored, node, name = self._where
        try:
            stored.write(node, name, self)
        except Exception:
            list.__setitem__(self, slice(None), before)
            raise
        return result

    return change


for _method in (
    "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse",
    "__setitem__", "__delitem__", "__iadd__",
):  # fmt: skip
    setattr(WrittenBack, _method, _writing_back(_method))


def stored_as(annotated: Any) -> tuple[Stored, list[Any]]:
    """Return how values of an annotated type are stored, and annotations left over."""
    kind, annotations = splitAnnotations(annotated)
    checks = [a for a in annotations if isinstance(a, Validator)]
    rest = [a for a in annotations if not isinstance(a, Validator)]
    stored = _stored_plain(kind)
    if isinstance(stored, StoredRow):
        whole, own = stored.check, list(checks)

        def check(value: Any) -> None:
            whole(value)
            for one in own:
                one.validate(value)

        stored.check = check  # type: ignore[method-assign]
    else:
        stored.checks += checks
    return stored, rest


def _stored_plain(kind: Any) -> Stored:
    simple = {
        int: lambda: Stored(int, 0, [NotNone(), IsInstance(int)]),
        float: lambda: Stored(float, 0, [NotNone(), IsInstance((int, float))]),
        str: lambda: Stored(str, "", [NotNone(), IsInstance(str)]),
        bool: lambda: StoredBool(bool, False, [NotNone(), IsInstance(bool)]),
        pathlib.Path: lambda: Stored(
            pathlib.Path, pathlib.Path(), [NotNone(), IsInstance(pathlib.Path)]
        ),
    }
    if kind in simple:
        return simple[kind]()
    if is_node(kind):
        return StoredNode(kind, None, [IsInstance(kind)])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return StoredEnum(kind, next(iter(kind)), [IsInstance(kind)])
    members = union_members(kind)
    if members and isNodeOrUnionOfNodes(kind):
        kinds = tuple(unannotatedType(m) for m in members)
        return StoredNode(kind, None, [IsInstance(tuple(k for k in kinds if is_node(k)))])
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        item = stored_as(arguments[0])[0]
        return StoredRow(list, lambda _at: item, None)
    if typing.get_origin(kind) is tuple:
        items = [stored_as(a)[0] for a in arguments]
        return StoredRow(tuple, lambda at: items[at], len(items))
    raise faults.StandInLacks(f"a parameter of type {kind}")
