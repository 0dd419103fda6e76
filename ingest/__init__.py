"""From corpora to samples to token windows."""
