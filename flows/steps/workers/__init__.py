"""Work on many processes, by Dask: on this machine, or on a cluster that is there."""
