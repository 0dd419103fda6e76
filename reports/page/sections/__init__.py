"""Sections of the page that have a module of their own."""
