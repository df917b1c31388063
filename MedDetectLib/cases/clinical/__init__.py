"""Findings as DICOM objects, DICOM objects as reference labels, and the way to a PACS."""
