"""The panel of the Slicer module, one part per file; imported when the panel is opened.

panel.py             puts the parts together and hears of the scene
parameter_node.py    what a saved scene remembers
case_part.py         which case: images, intake badge, worklist
model_part.py        which model, on which engine
detect_part.py       run, cancel, progress
findings_part.py     the table, the score filter, judging
correct_part.py      Segment Editor, box handle, undo
save_part.py         sign, save, versions, second reading
environment_dialog.py   installs what runs networks
keys.py              the keyboard
detection.py         one run of the worker, driven by a timer
engine.py            which Python runs the worker
looks.py             colours and texts of states
"""
