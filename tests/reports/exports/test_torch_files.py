"""Files of `torch.save` hold nothing that runs when they are read."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gatehouse.reports.exports.torch_files import save


def test_plain_content_comes_back(tmp_path):
    content = {"a": [1, 2.5, "text", True, {"b": torch.arange(3)}], "c": []}
    save(content, tmp_path / "x")
    found = torch.load(tmp_path / "x", weights_only=True)
    assert torch.equal(found["a"][4].pop("b"), content["a"][4].pop("b")) and found == content


@pytest.mark.parametrize(
    "strange", [Path("x"), print, np.float64(1), np.arange(2), (1,), {1}, None]
)
def test_nothing_is_written_that_could_run(strange, tmp_path):
    for content in (strange, [1, strange], {"key": {"inner": strange}}):
        with pytest.raises(TypeError, match="can run programs when it is read"):
            save(content, tmp_path / "x")
    assert not list(tmp_path.iterdir())
