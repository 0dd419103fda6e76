"""How far a capture is and how fast: measured, and written as metrics."""
