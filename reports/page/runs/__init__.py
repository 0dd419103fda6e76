"""Pages of several runs: side by side, and one after the other."""
