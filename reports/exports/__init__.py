"""Files that engines, trainers and data frames read, from a run's marts and events."""
