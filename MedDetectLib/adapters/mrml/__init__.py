"""Volumes and findings as MRML nodes, in 3D Slicer and on slicer-core alike.

The scene is always an argument or a node's own; nothing here knows `slicer.mrmlScene`,
`slicer.app` or Qt, and nothing is imported from Slicer before a part is used.
"""
