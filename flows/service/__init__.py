"""`gatehouse up` and `down`: a Prefect server, its pool, a worker and the deployments."""
