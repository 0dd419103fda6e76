"""From per-token statistics to SUPPORTED or NOT SUPPORTED, and how sure that is."""
