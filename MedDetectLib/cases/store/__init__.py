"""The case store: a plain folder of images, findings and who said what, that survives crashes.

`case_store.py` is the door; `docs/case-store.md` describes the folder and what is promised.

    store.json                      what this folder is: schema, split ratios and salt
    cases/<id>/case.json            one image of one patient: split, geometry, source
    cases/<id>/versions/0001.json   what was found in it: by a model, by each reader
    blobs/ab/<sha256>.nrrd|.json    the voxels and findings, named by their content
    changes.log                     which cases were touched, for indexes to catch up
    index.sqlite                    a cache of the above, rebuilt whenever it is in doubt
    locks/                          who writes now
"""
