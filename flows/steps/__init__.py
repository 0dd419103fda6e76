"""What the flow does, as plain functions: fetch, capture, build."""
