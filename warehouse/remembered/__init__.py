"""What a home remembers of its lake, beside it, so that the same is not worked out twice."""
