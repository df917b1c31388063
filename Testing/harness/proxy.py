"""Qt objects as PythonQt shows them to Python, judged by Slicer's own listing.

A `Proxy` stands before one PySide6 object (`native_of(proxy)`) and answers only to the
names listed for its class: properties as attributes, everything else as methods, signals
with `connect`. What is not listed raises AttributeError; what is listed but not stood in
for raises `StandInLacks`.
"""

from __future__ import annotations

import enum
import os
import types
import weakref
from typing import Any

import numpy as np
import shiboken6
from PySide6.QtCore import QObject

from Testing.harness import api, faults, links

_of_native: weakref.WeakValueDictionary[int, Proxy] = weakref.WeakValueDictionary()
_classes: dict[type, type] = {}
_enums: dict[Any, EnumValue] = {}
_of_class: dict[tuple[type, str], Any] = {}
_kinds: dict[tuple[type, str, str], str] = {}
_bases: dict[type, Any] = {}
_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


class EnumValue(int):
    """An enum's value: an int, as in PythonQt, that knows the PySide6 enum it is of."""

    native: Any

    def __new__(cls, native: Any) -> EnumValue:
        if native not in _enums:
            value = int.__new__(cls, native.value)
            value.native = native
            _enums[native] = value
        return _enums[native]

    def _same_kind(self, other: Any, operate: Any, plain: int) -> Any:
        if isinstance(other, EnumValue) and isinstance(self.native, enum.Flag):
            return EnumValue(operate(other.native))
        return plain

    def __or__(self, other: Any) -> Any:
        return self._same_kind(other, lambda o: self.native | o, int(self) | int(other))

    def __and__(self, other: Any) -> Any:
        return self._same_kind(other, lambda o: self.native & o, int(self) & int(other))

    def __xor__(self, other: Any) -> Any:
        return self._same_kind(other, lambda o: self.native ^ o, int(self) ^ int(other))

    def __invert__(self) -> Any:
        return EnumValue(~self.native) if isinstance(self.native, enum.Flag) else ~int(self)

    def __repr__(self) -> str:
        return f"{self.native.name} ({int(self)})"


class EnumType:
    """An enum's own name, like qt.Qt.Key: makes a value from an int."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def __call__(self, value: int) -> EnumValue:
        return EnumValue(self._native(int(value)))


class BoundSignal:
    """A signal of one object: connect, disconnect, emit."""

    def __init__(self, native: Any, class_name: str, name: str) -> None:
        self._native = native
        self._signature = links.find_signature(native, class_name, name)

    def connect(self, target: Any) -> bool:
        return links.connect(self._native, self._signature, target, wrap)

    def disconnect(self, target: Any = None) -> bool:
        return links.disconnect(self._native, self._signature, target)

    def emit(self, *arguments: Any) -> None:
        name = self._signature.split("(")[0]
        if self._signature in getattr(self._native, "OWN_SIGNALS", {}):
            self._native.fire(name, *arguments)
        else:
            getattr(self._native, name).emit(*[unwrap(a) for a in arguments])

    __call__ = emit


class ProxyType(type):
    """The class as PythonQt shows it: enums and static methods on the class itself."""

    def __getattr__(cls, name: str) -> Any:
        kept = _of_class.get((cls, name))
        if kept is not None:
            return kept
        found = cls._find(name)
        if not name.startswith("__"):
            _of_class[(cls, name)] = found
        return found

    def _find(cls, name: str) -> Any:
        class_name = cls.__dict__.get("API") or getattr(_listed_base(cls), "API", None)
        if name.startswith("__") or class_name is None:
            raise AttributeError(name)
        if name not in api.members(class_name) and name not in api.PYTHONQT_OWN:
            raise AttributeError(f"{class_name} has no attribute named '{name}'")
        special = SPECIAL_STATIC.get((class_name, name))
        if special is not None:
            return special
        found = _on_native_class(_listed_base(cls).NATIVE, class_name, name)
        if isinstance(found, enum.Enum):
            return EnumValue(found)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return EnumType(found)
        return _unbound(found) if callable(found) else wrap(found)


SPECIAL_STATIC: dict[tuple[str, str], Any] = {}
"""Static functions that PythonQt gives another form than PySide6, by class and name."""

SPECIAL: dict[str, Any] = {}
"""Methods every proxy answers itself, by name; called with the proxy first."""

SPECIAL_OF: dict[tuple[str, str], Any] = {}
"""Methods that one class answers itself, by listed class and name."""


def _on_native_class(native: type, class_name: str, name: str) -> Any:
    for attribute in (name, f"{name}_"):
        if hasattr(native, attribute):
            return getattr(native, attribute)
    raise faults.StandInLacks(f"{class_name}.{name} is listed but not in the stand-in")


def _unbound(function: Any) -> Any:
    def call(*arguments: Any) -> Any:
        return wrap(function(*[unwrap(a, strict=True) for a in arguments]))

    return call


def _listed_base(cls: type) -> Any:
    if cls not in _bases:
        _bases[cls] = next(base for base in cls.__mro__ if "NATIVE" in base.__dict__)
    return _bases[cls]


class Proxy(metaclass=ProxyType):
    """One Qt object as Python in Slicer sees it."""

    API: str
    NATIVE: Any = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        if named:
            raise TypeError(f"{self.API}() takes no keyword arguments in PythonQt")
        base = _listed_base(type(self))
        native_class = base.NATIVE if type(self) is base else _shell_class(type(self))
        maker = SPECIAL_OF.get((base.API, "__init__"), lambda cls, *a: cls(*a))
        native = maker(native_class, *[unwrap(a, strict=True) for a in arguments])
        _bind(self, native)
        if type(self) is not base:
            native.harness_proxy = self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        native, class_name = native_of(self), _listed_base(type(self)).API
        if isinstance(native, QObject) and not shiboken6.isValid(native):
            raise ValueError(f"Trying to read '{name}' from a destroyed {class_name} object")
        kind = _kind_of(native, class_name, name)
        if kind == "method":
            return _member(native, class_name, name)
        if kind == "property":
            return wrap(_read(native, class_name, name))
        if kind == "signal":
            return BoundSignal(native, class_name, name)
        if kind == "special":
            own = SPECIAL_OF.get((class_name, name)) or SPECIAL[name]
            return types.MethodType(own, self)
        if kind == "name":
            return native.objectName()
        return _dynamic(native, class_name, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_native" not in self.__dict__:  # before a Python class has called __init__ above it
            object.__setattr__(self, name, value)
            return
        native, class_name = native_of(self), _listed_base(type(self)).API
        known = api.members(class_name)
        if name == "name" and isinstance(native, QObject) and name not in known:
            name = "objectName"
        if _is_property(native, known, name):
            _write(native, class_name, name, value)
        elif name in known:
            raise AttributeError(f"'{name}' can not be overwritten on {class_name} object")
        elif isinstance(native, QObject) and name.encode() in [
            bytes(n.data()) for n in native.dynamicPropertyNames()
        ]:
            native.setProperty(name, unwrap(value))
        elif "NATIVE" not in type(self).__dict__:  # a class of Python's may have its own
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(
                f"Attribute '{name}' does not exist and creation of such attributes on"
                f" {class_name} objects is not allowed"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            return False
        mine, theirs = native_of(self), native_of(other)
        return mine is theirs if isinstance(mine, QObject) else mine == theirs

    def __lt__(self, other: Proxy) -> bool:
        return native_of(self) < native_of(other)

    def __hash__(self) -> int:
        return hash(native_of(self))

    def __bool__(self) -> bool:
        native = native_of(self)
        return not isinstance(native, QObject) or shiboken6.isValid(native)

    def __repr__(self) -> str:
        return f"{self.API.split('.')[1]} (stand-in at {id(self):#x})"


def native_of(proxy: Proxy) -> Any:
    """Return the PySide6 object behind a proxy."""
    return object.__getattribute__(proxy, "_native")


def _bind(proxy: Proxy, native: Any) -> None:
    object.__setattr__(proxy, "_native", native)
    if isinstance(native, QObject):
        _of_native[links.key_of(native)] = proxy


def _kind_of(native: Any, class_name: str, name: str) -> str:
    """Return what a name is on an object of this class: what PythonQt would look up."""
    key = (type(native), class_name, name)
    if key not in _kinds:
        _kinds[key] = _find_kind(native, class_name, name)
    return _kinds[key]


def _find_kind(native: Any, class_name: str, name: str) -> str:
    known = api.members(class_name)
    if name in known.signals and name not in known.properties:
        return "signal"
    if _is_property(native, known, name):
        return "property"
    own = SPECIAL_OF.get((class_name, name)) or SPECIAL.get(name)
    if own is not None and (name in known or name in api.PYTHONQT_OWN):
        return "special"
    if name in known.methods or name in known.values or name == "exec_":
        return "method"
    return "name" if name == "name" and isinstance(native, QObject) else "unknown"


def _is_property(native: Any, known: api.Members, name: str) -> bool:
    if name not in known.properties and name not in known.values:
        return False
    if not isinstance(native, QObject):
        return name in known.properties
    return links.meta_of(type(native)).indexOfProperty(name) >= 0


def _read(native: Any, class_name: str, name: str) -> Any:
    title = name[:1].upper() + name[1:]
    for getter in (name, f"is{title}", f"has{title}"):
        if callable(getattr(native, getter, None)):
            return getattr(native, getter)()
    return native.property(name)


def _write(native: Any, class_name: str, name: str, value: Any) -> None:
    given = unwrap(value, strict=True)
    meta = links.meta_of(type(native))
    found = meta.property(meta.indexOfProperty(name))
    if not found.isWritable():
        raise AttributeError(f"Property '{name}' of {class_name} object is not writable")
    setter = getattr(native, f"set{name[:1].upper()}{name[1:]}", None)
    if found.isEnumType() and not isinstance(given, enum.Enum):
        given = type(_read(native, class_name, name))(given)
    try:
        setter(given) if callable(setter) else native.setProperty(name, given)
    except (TypeError, ValueError) as error:
        raise AttributeError(
            f"Property '{name}' of type '{found.typeName()}' does not accept an object of"
            f" type {type(value).__name__} ({value!r})"
        ) from error


def _member(native: Any, class_name: str, name: str) -> Any:
    attribute = "exec" if name == "exec_" else name
    found = _on_native_class(type(native), class_name, attribute)
    if isinstance(found, enum.Enum):
        return EnumValue(found)
    if isinstance(found, type) and issubclass(found, enum.Enum):
        return EnumType(found)
    if not callable(found):
        return wrap(found)
    bound = getattr(native, attribute if hasattr(native, attribute) else f"{attribute}_")

    def call(*arguments: Any) -> Any:
        return wrap(bound(*[unwrap(a, strict=True) for a in arguments]))

    call.__name__ = name
    return call


def _dynamic(native: Any, class_name: str, name: str) -> Any:
    if isinstance(native, QObject):
        if name.encode() in [bytes(n.data()) for n in native.dynamicPropertyNames()]:
            return wrap(native.property(name))
        for child in native.children():
            if child.objectName() == name:
                return wrap(child)
    raise AttributeError(f"{class_name} has no attribute named '{name}'")


def unwrap(value: Any, strict: bool = False) -> Any:
    """Return what PySide6 is to be given for a value from Python.

    Raises:
        TypeError: a function where `strict`: PythonQt's wrapped methods take none. A path
            or a number of numpy's: PythonQt asks for Python's own types (a numpy.float64 is one).
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Proxy):
        return native_of(value)
    if isinstance(value, EnumValue):
        return value.native
    if isinstance(value, list | tuple):
        return [unwrap(v, strict) for v in value]
    if isinstance(value, dict):
        return {k: unwrap(v, strict) for k, v in value.items()}
    if strict and isinstance(value, types.FunctionType | types.MethodType):
        raise TypeError(f"PythonQt cannot pass the function {value!r} to a Qt method")
    if isinstance(value, os.PathLike) or (
        isinstance(value, np.generic) and not isinstance(value, float)
    ):
        raise TypeError(f"PythonQt cannot pass {value!r}: it knows str, int, float and bool only")
    return value


def wrap(value: Any) -> Any:
    """Return what Python in Slicer would see for a value from PySide6."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, enum.Enum):
        return EnumValue(value)
    if isinstance(value, list | tuple):
        return tuple(wrap(v) for v in value)
    if isinstance(value, dict):
        return {k: wrap(v) for k, v in value.items()}
    if isinstance(value, QObject):
        mine = getattr(value, "harness_proxy", None) or _of_native.get(links.key_of(value))
        if mine is not None and native_of(mine) is value:
            return mine
    if not type(value).__module__.startswith("PySide6") and not isinstance(value, QObject):
        return value
    made = _class_for(type(value))
    made = made.__new__(made)
    _bind(made, value)
    return made


def _class_for(native: type) -> Any:
    """Return the class Slicer's Python would show an object of this PySide6 class as."""
    for cls in native.__mro__:
        if cls in _classes:
            return _classes[cls]
        listed = f"qt.{cls.__name__}"
        if cls.__module__.startswith("PySide6") and api.is_class(listed):
            return proxy_class(listed, cls)
    raise faults.StandInLacks(f"{native.__name__} is not listed by Slicer")


def proxy_class(class_name: str, native: type) -> Any:
    """Return the class that Python in Slicer knows under this full name."""
    if native in _classes:
        return _classes[native]
    bases = []
    for base in native.__bases__:
        listed = f"qt.{base.__name__}"
        if class_name.startswith("qt.") and api.is_class(listed) and base is not object:
            bases.append(proxy_class(listed, base))
    short = class_name.split(".")[1]
    made = ProxyType(short, tuple(bases) or (Proxy,), {"API": class_name, "NATIVE": native})
    made.__module__ = class_name.split(".")[0]
    _classes[native] = made
    return made


def _shell_class(cls: type) -> Any:
    """Return a PySide6 class whose virtual functions call a Python class's overrides."""
    if "SHELL" in cls.__dict__:
        return cls.__dict__["SHELL"]
    base = _listed_base(cls)
    above = cls.__mro__[: cls.__mro__.index(base)]
    names = {n for c in above for n in vars(c) if not n.startswith("__")}

    def override(name: str) -> Any:
        def call(native: Any, *arguments: Any) -> Any:
            proxy = getattr(native, "harness_proxy", None)
            if proxy is None:  # called while the object is still being made
                return getattr(base.NATIVE, name)(native, *arguments)
            given = [wrap(a) for a in arguments]
            return unwrap(faults.guarded(getattr(proxy, name), *given))

        return call

    overrides = {n: override(n) for n in names if callable(getattr(base.NATIVE, n, None))}
    shell = type(f"{cls.__name__}Shell", (base.NATIVE,), overrides)
    type.__setattr__(cls, "SHELL", shell)
    return shell
