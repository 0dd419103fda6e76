"""Models from the hub: pinned to a commit, cached, or refused in one line."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from gatehouse.warehouse.paths import PACKAGE
from tests.ingest.fake_hub import COMMIT, REFUSALS, TOKEN, write_refusals


@pytest.fixture(scope="module")
def found(tiny_mixtral, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("hub")
    for name in ("tiny", "gated", "pickled", "adapted", "damaged", "unread", "bare"):
        shutil.copytree(tiny_mixtral, folder / "owner" / name)
    (folder / "owner" / "gated" / "GATED").touch()
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "owner/tiny"}
    (folder / "owner" / "adapted" / "adapter_config.json").write_text(json.dumps(adapter))
    (folder / "owner" / "tiny" / "consolidated.safetensors").write_bytes(b"the same once more")
    weights = folder / "owner" / "pickled" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    (folder / "owner" / "damaged" / "model.safetensors").write_bytes(bytes(100))
    for name in ("unread", "bare"):
        (folder / "owner" / name / "tokenizer.json").unlink()
    (folder / "owner" / "bare" / "tokenizer_config.json").unlink()
    (folder / "owner" / "unread" / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    write_refusals(folder / "owner")
    program = [sys.executable, str(PACKAGE / "tests" / "models" / "hub_program.py")]
    done = subprocess.run(
        [*program, str(folder), str(folder / "cache")],
        capture_output=True,
        text=True,
        cwd=PACKAGE,
        env=environment | {"PYTHONPATH": str(PACKAGE), "HF_TOKEN": TOKEN},
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stderr + done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_a_hub_model_is_pinned_to_its_commit_and_loads(found):
    assert found["tiny"]["fingerprint"] == COMMIT
    assert found["tiny"]["parameters"] > 0
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(found["tiny"]["files"])
    assert "consolidated.safetensors" not in found["tiny"]["files"]


def test_without_the_hub_the_cache_serves_the_same_model(found):
    assert found["tiny without the hub"] == found["tiny"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unknown", "the hub has no model 'owner/unknown'"),
        ("gated", "the hub asks for consent to 'owner/gated'"),
        ("pickled", "'owner/pickled' has no .safetensors file on the hub"),
        ("adapted", "merge it into owner/tiny with peft"),
        ("adapted without the hub", "merge it into owner/tiny with peft"),
        (
            "other without the hub",
            "the hub that HF_ENDPOINT names does not answer, and the hub's cache lacks what it",
        ),
        ("damaged", "the weights of 'owner/damaged' are damaged"),
        # what is in the cache is not blamed on the way to the hub
        ("damaged without the hub", "the weights of 'owner/damaged' are damaged"),
        ("unread", "`pip install sentencepiece tiktoken`"),
        ("unread without the hub", "`pip install sentencepiece tiktoken`"),
        ("bare", "restore the tokenizer files"),
        ("bare without the hub", "does not answer, and the hub's cache lacks what it needs"),
    ],
)
def test_what_cannot_be_had_is_one_line(found, name, says):
    assert says in found[name]["error"] and "\n" not in found[name]["error"]


@pytest.mark.parametrize("status", REFUSALS)
def test_what_the_hub_says_shows_no_token(found, status):
    error = found[f"answers-{status}"]["error"]
    assert "owner/answers" in error and "hf_" not in error and "\n" not in error


def test_no_kernel_is_taken_from_the_hub(found):
    assert found["kernels of the hub"] is False
