"""The stand-in's `@parameterNodeWrapper`: typed attributes over a scripted module's node."""

from __future__ import annotations

import typing
from typing import Any

import slicer
import vtk

from Testing.harness import parameter_gui
from Testing.harness.parameter_kinds import Default, Stored, stored_as

_RESERVED = (
    "allParameters", "default", "isCached", "dataType", "getValue", "setValue", "connectGui",
    "connectParametersToGui", "disconnectGui", "StartModify", "EndModify", "AddObserver",
    "RemoveObserver", "Modified",
)  # fmt: skip


class _Parameter:
    def __init__(self, name: str, stored: Stored, default: Default, kind: Any) -> None:
        self.basename, self.stored, self.default, self.unalteredType = name, stored, default, kind


class _Wrapper:
    """What every wrapped class gets; `parameterNode` is the MRML node."""

    allParameters: dict[str, _Parameter]
    _is_parameter_node_wrapper = True

    def _begin(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis: dict[int, tuple[dict[str, Any], int]] = {}
        self._updating = False
        for name, parameter in self.allParameters.items():
            if not parameter.stored.is_in(parameterNode, self._prefix + name):
                parameter.stored.write(parameterNode, self._prefix + name, parameter.default.value)

    def _known(self, name: str) -> _Parameter:
        if name not in self.allParameters:
            raise ValueError(f"there is no parameter '{name}' among {list(self.allParameters)}")
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:
        stored, full = self._known(name).stored, self._prefix + name
        if not stored.is_in(self.parameterNode, full):  # after the scene was closed
            stored.write(self.parameterNode, full, self._known(name).default.value)
        return stored.read(self.parameterNode, full)

    def setValue(self, name: str, value: Any) -> None:
        stored = self._known(name).stored
        with slicer.util.NodeModify(self.parameterNode):
            stored.write(self.parameterNode, self._prefix + name, value)

    def default(self, name: str) -> Any:
        return self._known(name).default

    def isCached(self, name: str) -> bool:
        self._known(name)
        return True

    @classmethod
    def dataType(cls, name: str) -> Any:
        return cls.allParameters[name].unalteredType

    def connectGui(self, gui: Any) -> int:
        return self.connectParametersToGui(parameter_gui.named_widgets(gui))

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        for name in mapping:
            self._known(name)
        connectors = {
            name: parameter_gui.connector(widget, self.dataType(name))
            for name, widget in mapping.items()
        }
        tag = max(self._guis, default=-1) + 1
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._from_gui(name, connector))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_gui)
        self._guis[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag: int) -> None:
        connectors, observer = self._guis.pop(tag, ({}, None))
        for connector in connectors.values():
            connector.onChanged(None)
        if observer is not None:
            self.RemoveObserver(observer)

    def _from_gui(self, name: str, connector: Any) -> Any:
        def changed() -> None:
            if not self._updating:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return changed

    def _to_gui(self, _node: Any, _event: str) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _observer in list(self._guis.values()):
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: Any) -> Any:
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _attribute(name: str) -> property:
    return property(
        lambda self: self.getValue(name), lambda self, value: self.setValue(name, value)
    )


def _wrap(cls: Any) -> Any:
    parameters = {}
    for name, kind in typing.get_type_hints(cls, include_extras=True).items():
        if name in _RESERVED:
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        stored, rest = stored_as(kind)
        given = next((a for a in rest if isinstance(a, Default)), None)
        if hasattr(cls, name):
            given = Default(getattr(cls, name))
        parameters[name] = _Parameter(name, stored, given or Default(stored.default()), kind)
        setattr(cls, name, _attribute(name))
    for name in _RESERVED:
        if name in cls.__dict__:
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    for name, value in vars(_Wrapper).items():
        if not name.startswith("__"):
            setattr(cls, name, value)
    cls.allParameters = parameters
    cls.__init__ = _Wrapper._begin
    return cls


def parameterNodeWrapper(classtype: Any = None) -> Any:
    """Class decorator: annotated fields become parameters of the node it is made with."""
    return _wrap if classtype is None else _wrap(classtype)


def isParameterNodeWrapper(classOrObj: Any) -> bool:
    """Whether a class, or what it makes, is wrapped so."""
    return bool(getattr(classOrObj, "_is_parameter_node_wrapper", False))
