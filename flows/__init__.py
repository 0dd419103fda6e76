"""Composition: the pipeline as a Prefect flow and as commands."""
