"""Traces of other engines: a module per format, one noun, and the laws of all of them."""
