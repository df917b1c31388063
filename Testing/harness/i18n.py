"""The stand-in's `slicer.i18n`: no translation is installed, so texts stay as they are.

A text is still checked: Slicer's `tr` looks for placeholders in it.
"""

from __future__ import annotations

from pathlib import Path


def translate(context: str, text: str) -> str:
    """Return the text in the application's language, which is English."""
    if not isinstance(context, str) or not isinstance(text, str):
        raise TypeError("translate wants a context and a text")
    return text


def getContext(sourceFile: str) -> str:
    """Return what a source file's texts are filed under."""
    path = Path(sourceFile)
    package = f"{path.parent.name}." if (path.parent / "__init__.py").is_file() else ""
    return package + path.name.removesuffix(".py")


def tr(text: str) -> str:
    """Return the text in the application's language, which is English."""
    if not isinstance(text, str):
        raise TypeError("tr wants a text")
    return text
