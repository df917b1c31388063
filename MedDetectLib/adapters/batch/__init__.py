"""Many cases, one after the other or several at once, each all done or not begun.

    out/batch.json              which model, which options: a batch goes on with the same
    out/cases/<case>/           what `meddetect detect` writes, and status.json
    out/summary.csv|.html       all cases on one page
    out/.working/               what is being written now; swept at the next start

`run.py` hands cases to `lane.py`, which holds a process each; that process (`lane_process.py`)
reads the next case while the current one runs. A case appears under its name by one rename,
complete with its status: whatever is killed when, it is there or it is not.
"""
