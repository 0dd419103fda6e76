"""What a checkpoint holds: its tensors, the format they are stored in, adapters beside them."""
