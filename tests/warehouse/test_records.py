"""One run, one identity; names that cannot leave their folder."""

from dataclasses import fields, replace

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths, checked_run_id
from gatehouse.warehouse.records import RunSpec, slug

SPEC = RunSpec(
    model="mistralai/Mixtral-8x7B-v0.1",
    model_fingerprint="abc",
    tokenizer_fingerprint="def",
    dataset="pydoc",
    dataset_fingerprint="123",
    first_sample=0,
    num_samples=10,
    max_length=512,
    windows=False,
    dtype="float32",
    quantization="none",
    attention_implementation="sdpa",
    experts_implementation="grouped_mm",
    trust_remote_code=False,
    generate=16,
    temperature=0.5,
    seed=3,
    output_norms=True,
)
CAPTURED_ALONE = replace(SPEC, generate=None, temperature=None, seed=None, output_norms=None)


@pytest.mark.parametrize("name", [field.name for field in fields(RunSpec)])
def test_everything_in_the_identity_changes_the_run_id(name):
    value = getattr(SPEC, name)
    other = (not value) if isinstance(value, bool) else value + type(value)(1)
    assert replace(SPEC, **{name: other}).run_id != SPEC.run_id
    assert replace(SPEC).run_id == SPEC.run_id


def test_a_run_that_generates_nothing_keeps_the_id_it_had_before_any_could():
    assert CAPTURED_ALONE.run_id == "mixtral-8x7b-v0-1-pydoc-b9176d1759"


def test_batch_size_and_device_are_no_part_of_the_identity():
    assert not {"batch_size", "device", "shards"} & {field.name for field in fields(RunSpec)}


def test_the_run_id_is_readable_and_can_be_a_folder():
    assert SPEC.run_id.startswith("mixtral-8x7b-v0-1-pydoc-")
    assert checked_run_id(SPEC.run_id) == SPEC.run_id


@pytest.mark.parametrize("name", ["../../x", "a/b", "a'; drop table runs; --", "", "…", "a\\b"])
def test_any_name_gives_a_harmless_run_id(name):
    run_id = replace(SPEC, model=name, dataset=name).run_id
    assert checked_run_id(run_id) == run_id


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "-a", "a'b", "a.b", "a b"])
def test_what_is_no_run_id_never_becomes_a_path(name, tmp_path):
    with pytest.raises(GatehouseError, match="is not a run id"):
        Paths(tmp_path).results(name)


def test_slugs_are_short_lower_case_and_never_empty():
    assert slug("Org/Some_Model v1.0/") == "some-model-v1-0"
    assert slug("///") == "unnamed"
    assert len(slug("x" * 200)) == 40


def test_the_home_is_the_argument_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEHOUSE_HOME", str(tmp_path / "variable"))
    assert Paths.resolve().root == tmp_path / "variable"
    assert Paths.resolve(tmp_path / "argument").root == tmp_path / "argument"
    monkeypatch.delenv("GATEHOUSE_HOME")
    assert Paths.resolve().root.parts[-2:] == ("warehouse", "data")
