"""Who writes: locks between processes, and the names of what is being written."""
