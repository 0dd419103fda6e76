"""What reads an open file of each format, a text a document."""
