"""An assessed run in, one self-contained HTML file out."""
