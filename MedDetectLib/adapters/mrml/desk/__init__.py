"""One case under review in a scene: a review session and the nodes that show it, joined.

`ReviewDesk` (review_desk.py) is the door. The scene is an argument; nothing here knows Qt or
`slicer.mrmlScene`.
"""
