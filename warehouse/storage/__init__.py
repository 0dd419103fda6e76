"""Where a lake lies, a folder or a bucket, and what can be done there."""
