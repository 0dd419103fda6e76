"""What a checkpoint holds: tensors, their stored format, adapters; why it cannot be read."""
