"""What stands beside the tables of the lake: names of runs, and how their text was read."""
