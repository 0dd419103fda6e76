"""An assessed run or table in, matplotlib figures out; nothing is read or saved here."""
