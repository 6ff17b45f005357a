"""HDF5: the steps of episodes, or any dataset, as rows. Read by robodf itself, without libhdf5."""
