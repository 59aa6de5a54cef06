"""Detection of persons, faces, license plates and text: one module per detector, tiling, merging, given annotations."""
