"""Capture on many workers, by Dask: on this machine, or on a cluster that is there."""
