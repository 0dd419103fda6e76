"""A family that is new to transformers is noticed, whatever signs it bears."""

import pytest

from tests.models.families.builders import BUILDERS
from tests.models.families.discovery import (
    NOT_TEXT_MOE,
    bearing_signs,
    installed_models,
    moe_families,
)


def test_every_family_of_the_installed_transformers_has_a_model():
    assert moe_families() == BUILDERS.keys()


def test_every_exception_still_needs_its_reason():
    assert bearing_signs(installed_models()) >= NOT_TEXT_MOE.keys()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("modeling_new.py", "class NewExperts(nn.ModuleList):\n    pass\n"),
        ("modeling_new.py", "class NewExpert(nn.Module):\n    pass\n"),
        ("modeling_new.py", "class NewNaiveMoe(nn.Module):\n    pass\n"),
        ("modeling_new.py", "class NewMoEBlock(nn.Module):\n    pass\n"),
        ("modeling_new.py", "class NewTopKRouter(nn.Module):\n    pass\n"),
        ("modeling_new.py", "from ..mixtral.modeling_mixtral import MixtralSparseMoeBlock\n"),
        ("modeling_new.py", "        self.experts = nn.ModuleList(parts)\n"),
        ("modeling_new.py", "        self.router_gate = nn.Linear(hidden, keys)\n"),
        ("modeling_new.py", "        self.gate = nn.Linear(8, 8)\n        x = scores.topk(2)\n"),
        ("configuration_new.py", "class NewConfig:\n    num_local_experts: int = 8\n"),
        ("configuration_new.py", "class NewConfig:\n    n_routed_experts: int = 8\n"),
        ("configuration_new.py", "class NewConfig:\n    moe_layer_interval: int = 1\n"),
    ],
)
def test_each_sign_alone_is_enough(tmp_path, file, source):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / file).write_text(source, encoding="utf-8")
    assert bearing_signs(tmp_path) == {"new"}


@pytest.mark.parametrize(
    "source",
    [
        "class NewMLP(nn.Module):\n    pass\n",
        "class NewOutput(MultimodalMoeBaseModelOutputWithPast):\n    pass\n",
        "class NewAttention(nn.Module):\n    # Copied from MixtralSparseMoeBlock\n    pass\n",
        'class NewModel(nn.Module):\n    """Unlike NewExperts, self.experts is absent."""\n',
        "        self.gate_proj = nn.Linear(8, 8)\n        x = scores.topk(2)\n",
    ],
)
def test_dense_families_bear_none(tmp_path, source):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "modeling_new.py").write_text(source, encoding="utf-8")
    assert bearing_signs(tmp_path) == set()
