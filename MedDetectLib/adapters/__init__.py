"""The doors: command line, MRML scene, pictures and reports."""
