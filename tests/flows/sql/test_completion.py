"""What the shell offers at the cursor."""

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from gatehouse.flows.sql.completion import Catalog, SqlCompleter

CATALOG = Catalog(
    {
        "fct_layer_routing": ["run_id", "layer", "mean_entropy"],
        "fct_expert_load": ["run_id", "layer", "expert"],
        "events": ["run_id", "token_id"],
        "dim_layer": ["run_id", "layer", "num_experts"],
        "int_partial": ["entropy_sum"],
        "stg_events": ["run_number"],
    },
    ["demo-pydoc-2", "demo-pydoc-1"],
    ["layers_at_a_glance"],
)


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("sel|", ["select"]),
        ("SEL|", ["select"]),
        ("select * from |", ["fct_layer_routing", "fct_expert_load", "events", "dim_layer"]),
        ("select * from f|", ["fct_layer_routing", "fct_expert_load"]),
        ("select * from st|", []),
        ("select * from stg|", ["stg_events"]),
        ("select * from int_|", ["int_partial"]),
        ("select mean_|", ["mean_entropy"]),
        ("select la| from fct_expert_load", ["layer", "last", "lateral", "lag"]),
        ("select e| from fct_expert_load", ["expert", "events", "except", "else", "end", "exists"]),
        ("select num_| from fct_expert_load", []),
        ("select run_number| from dim_layer", []),
        ("select d.n| from fct_expert_load join dim_layer as d on true", ["num_experts"]),
        ("select d.| from dim_layer d", ["run_id", "layer", "num_experts"]),
        ("select events.t| from events", ["token_id"]),
        ("select x.| from dim_layer d", []),
        ("from events where run_id = '|", ["demo-pydoc-2", "demo-pydoc-1"]),
        ("from events where run_id in ('demo-pydoc-1|", []),
        ("select 'sel|", []),
        ("select |", []),
        (".c|", [".columns"]),
        (".columns dim|", ["dim_layer"]),
        (".example |", ["layers_at_a_glance"]),
    ],
)
def test_completion(text, offered):
    """`|` is where the cursor is."""
    before, _, after = text.partition("|")
    document = Document(before + after, len(before))
    found = list(SqlCompleter(CATALOG).get_completions(document, CompleteEvent()))
    assert [each.text for each in found] == offered
    for each in found:
        completed = before[: len(before) + each.start_position] + each.text
        assert completed.lower().startswith(before.lower())
