"""Which of several runs are compared, and which are left out."""

import pandas as pd
import pytest

from gatehouse.reports.marts import Loads, Pair
from gatehouse.reports.page.runs.comparison_charts import LOADS, OVERLAP
from gatehouse.reports.results.comparison import comparable
from gatehouse.warehouse.errors import GatehouseError

OF_TOKENS = Pair(pd.DataFrame({name: [0.5] for name in ("moe_index", *OVERLAP)}))
OF_LOADS = Pair(loads=Loads(pd.DataFrame({name: [0.5] for name in ("moe_index", *LOADS)})))
NOTHING = Pair(OF_TOKENS.overlap.head(0))


def test_runs_stay_if_tokens_or_loads_compare_with_one_other():
    pairs = {("a", "b"): OF_TOKENS, ("a", "c"): NOTHING, ("b", "c"): NOTHING}
    assert comparable(["a", "b", "c"], pairs) == ["a", "b"]
    assert comparable(["a", "b", "c"], pairs | {("b", "c"): OF_LOADS}) == ["a", "b", "c"]
    with pytest.raises(GatehouseError, match="no two of these 3 runs can be compared"):
        comparable(["a", "b", "c"], dict.fromkeys(pairs, NOTHING))
