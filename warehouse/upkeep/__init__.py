"""Looking after what has landed: whether it is whole, whether the marts agree, its removal."""
