"""The import of traces of other engines into the lake."""
