"""Functions over columns of point clouds: lists of structs with x, y and z, of files and of messages alike."""
