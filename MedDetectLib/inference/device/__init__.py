"""`detect()` where everything from the voxels to the label map stays on one device."""
