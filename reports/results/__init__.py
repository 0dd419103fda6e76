"""A results folder: what is asked for, and what is written."""
