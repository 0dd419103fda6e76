"""`gatehouse sql`: one query, a pipe, the examples, or a shell."""
