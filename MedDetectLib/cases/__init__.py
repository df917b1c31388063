"""Image files and DICOM, in and out; the only room that knows LPS."""
