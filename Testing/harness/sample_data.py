"""The stand-in's `SampleData` module: samples are registered, and loaded from file:// only."""

from __future__ import annotations

import logging
import urllib.parse
import urllib.request
from typing import Any

import slicer

_FIELDS = ("fileNames", "nodeNames", "checksums", "loadFiles", "loadFileTypes")


class SampleDataSource:
    """One sample: where it is, and how it is loaded."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFileProperties: Any = None,
        loadFileType: Any = None,
    ) -> None:
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        single = isinstance(uris, str)
        self.uris = [uris] if single else list(uris)
        given = (fileNames, nodeNames, checksums, loadFiles, loadFileTypes or loadFileType)
        for name, value in zip(_FIELDS, given, strict=True):
            many = isinstance(value, list | tuple)
            whole = [value] * len(self.uris) if single or not many else list(value)
            if len(whole) != len(self.uris):
                raise ValueError(f"All fields must have the same length: {name} is {value}")
            setattr(self, name, whole)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and str(vars(self)) == str(vars(other))

    __hash__ = None  # type: ignore[assignment]


class SampleDataLogic:
    """Registers samples under categories, and loads them."""

    def __init__(self, logMessage: Any = None) -> None:
        self._log = logMessage

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        """Give a category the title shown to users."""
        if not hasattr(slicer.modules, "sampleDataSourceCategories"):
            slicer.modules.sampleDataSourceCategories = {}
        slicer.modules.sampleDataSourceCategories.setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        """Add a sample to a category, unless the same is there."""
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes or loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
        )
        listed = slicer.modules.sampleDataSources.setdefault(category, [])
        if source not in listed:
            listed.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> Any:
        """Return the samples of a category, or all by category."""
        every = slicer.modules.sampleDataSources
        return every if category is None else every.get(category, [])

    def sourceForSampleName(self, sampleName: str) -> Any:
        """Return the sample of this name, or None."""
        every = (s for found in slicer.modules.sampleDataSources.values() for s in found)
        return next((s for s in every if s.sampleName == sampleName), None)

    def downloadFromSource(
        self, source: Any, maximumAttemptsCount: int = 3, forceDownload: bool = False
    ) -> list[Any]:
        """Load a sample's files, return the nodes; custom downloaders are their buttons' alone."""
        nodes = []
        for uri, name, load in zip(source.uris, source.nodeNames, source.loadFiles, strict=True):
            where = urllib.parse.urlparse(uri)
            if where.scheme != "file":
                raise RuntimeError(f"the stand-in has no network for {uri}")
            path = urllib.request.url2pathname(where.path)
            if load is False:
                nodes.append(path)
            else:
                wanted = {"name": name, **source.loadFileProperties}
                nodes.append(slicer.util.loadNodeFromFile(path, properties=wanted))
        return nodes

    def downloadSamples(self, sampleName: str) -> list[Any]:
        """Load a sample by name, and return its nodes."""
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source else []

    def downloadSample(self, sampleName: str) -> Any:
        """Load a sample by name, and return its first node."""
        return self.downloadSamples(sampleName)[0]

    def logMessage(self, message: str, logLevel: int = logging.DEBUG) -> None:
        """Log."""
        logging.log(logLevel, message)


def downloadSample(sampleName: str) -> Any:
    """Load a sample by name, and return its first node."""
    return SampleDataLogic().downloadSample(sampleName)
