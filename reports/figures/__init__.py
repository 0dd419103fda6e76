"""An assessed run or table in, matplotlib figures out; nothing is read or saved here."""

from gatehouse.reports.backend import import_matplotlib

import_matplotlib()
