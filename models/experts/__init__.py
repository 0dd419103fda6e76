"""What the experts of an MoE layer give."""
