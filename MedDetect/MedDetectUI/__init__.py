"""The panel of the Slicer module, one part per file; imported when the panel is opened.

panel.py             puts the parts together and hears of the scene
parameter_node.py    what a saved scene remembers
case_part.py         which images, and the intake badge (intake.py)
worklist_part.py     from case to case
model_part.py        which model (models.py), on which engine
detect_part.py       run, cancel, progress
findings_part.py     the table, the score filter, judging
correct_part.py      Segment Editor, box handle, undo
save_part.py         opens, signs, stores
versions_part.py     earlier versions, second readings, agreement (comparing.py), who decides
known_case.py        which case of the store an image is
unfinished_part.py   going on after a crash; sessions.py knows the folders
export_part.py       DICOM SEG and SR
environment_dialog.py   installs what runs networks
keys.py              the keyboard
review.py            the review that is open now
detection.py         one run of the worker, driven by a timer
steps.py             long work in steps, from a timer
engine.py            which Python runs the worker
looks.py, places.py  colours and texts of states; where the slice views look
stand_in.py          a client without a worker, for tests
"""
