"""What a flow tells a Prefect server that has pages; nothing is told to the server of one run."""
