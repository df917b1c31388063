"""From a volume to findings: prepare, windows, backend, decode, `detect`."""
