"""Looking after what has landed: status, verify, remove."""
