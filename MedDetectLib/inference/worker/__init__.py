"""Inference in a process of its own: the worker, and the client that Slicer talks to it with.

`client.WorkerClient` is the door; `docs/worker-protocol.md` says what passes between the
two. The client's half imports nothing but the standard library, numpy and `core`.
"""
