"""`meddetect bench`: the same work done by us and by a peer, in turns, outputs compared.

`comparison.py` says what a row is, `interleaved.py` how it is timed; every other file is
one group of rows. Peers are imported when their row runs and nowhere else in the library.
"""
