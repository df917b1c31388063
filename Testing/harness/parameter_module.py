"""The module that stands in for `slicer.parameterNodeWrapper`."""

from Testing.harness.parameter_gui import PROPERTY as SlicerParameterNamePropertyName
from Testing.harness.parameter_gui import GuiConnector
from Testing.harness.parameter_gui import connector as createGuiConnector
from Testing.harness.parameter_kinds import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Label,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
    findFirstAnnotation,
    getNodeTypes,
    isNodeOrUnionOfNodes,
    splitAnnotations,
    unannotatedType,
)
from Testing.harness.parameter_wrapper import isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "GuiConnector",
    "IsInstance",
    "Label",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "createGuiConnector",
    "findFirstAnnotation",
    "getNodeTypes",
    "isNodeOrUnionOfNodes",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
    "splitAnnotations",
    "unannotatedType",
]
