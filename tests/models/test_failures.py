"""Files of a model that are not what they should be: each is named, with the way out."""

import json
import shutil
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from gatehouse.models.checkpoint import failures
from gatehouse.models.checkpoint.failures import cannot_load
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4932\n"
INDEX = "model.safetensors.index.json"
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tiny_mixtral, tmp_path):
    return shutil.copytree(tiny_mixtral, tmp_path / "copy")


@pytest.fixture
def parts(folder):
    """The folder with its weights in two files, and how its index names them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: PARTS[turn % 2] for turn, name in enumerate(sorted(weights))}
    for part in PARTS:
        its = {name: weights[name] for name in names if names[name] == part}
        save_file(its, folder / part, metadata={"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return names


def refused(folder):
    with pytest.raises(GatehouseError) as caught:
        plan = resolve(str(folder))
        assert plan.fingerprint and plan.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", INDEX])
def test_a_pointer_of_git_lfs_is_no_damaged_file(folder, file):
    (folder / file).write_text(POINTER)
    assert f"{folder / file} is a pointer of Git LFS" in refused(folder)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"weight_map": {"a": 1}}', '{"weight_map": {}}']
)
def test_an_index_that_names_no_files_is_damaged(folder, parts, content):
    (folder / INDEX).write_text(content)
    assert f"{folder / INDEX} is damaged or incomplete" in refused(folder)


def test_a_file_that_the_index_names_and_that_is_not_there_is_named(folder, parts):
    assert resolve(str(folder)).load()
    (folder / PARTS[1]).unlink()
    assert f"lacks {PARTS[1]}, which its {INDEX} names" in refused(folder)


@pytest.mark.parametrize("place", ["../other", "inside"])
def test_weights_outside_the_folder_do_not_go_by_its_fingerprint(folder, parts, place):
    (folder / place).mkdir()
    (folder / PARTS[0]).rename(folder / place / PARTS[0])
    moved = {name: f"{place}/{part}" if part == PARTS[0] else part for name, part in parts.items()}
    (folder / INDEX).write_text(json.dumps({"weight_map": moved}))
    assert f"names {place}/{PARTS[0]}, which is not a file beside it" in refused(folder)


def test_what_an_index_chooses_is_part_of_the_fingerprint(folder, parts):
    """The index itself, and a file that it names under any ending."""
    before = resolve(str(folder)).fingerprint
    turned = {name: PARTS[1 - PARTS.index(part)] for name, part in parts.items()}
    (folder / INDEX).write_text(json.dumps({"weight_map": turned}))
    after = resolve(str(folder)).fingerprint
    (folder / PARTS[0]).rename(folder / "part.weights")
    named = {name: "part.weights" if part == PARTS[0] else part for name, part in parts.items()}
    (folder / INDEX).write_text(json.dumps({"weight_map": named}))
    renamed = resolve(str(folder)).fingerprint
    with (folder / "part.weights").open("ab") as file:
        file.write(b"0")
    assert len({before, after, renamed, resolve(str(folder)).fingerprint}) == 4


def test_weights_that_a_config_chooses_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "a/b.bin"}))
    assert "names its weights itself (transformers_weights: a/b.bin)" in refused(folder)


def test_one_name_with_two_values_in_two_files_is_refused(folder, parts):
    name = min(parts)
    first, second = load_file(folder / PARTS[0]), load_file(folder / PARTS[1])
    save_file(second | {name: first[name]}, folder / PARTS[1], metadata={"format": "pt"})
    assert resolve(str(folder)).load()
    save_file(second | {name: first[name] + 1}, folder / PARTS[1], metadata={"format": "pt"})
    assert f"both hold {name}, with different values" in refused(folder)


@pytest.mark.parametrize("file", ["consolidated.safetensors", "model-00001-of-00001.safetensors"])
def test_weights_in_another_layout_are_named(folder, file):
    (folder / "model.safetensors").rename(folder / file)
    assert f"holds {file}, but neither model.safetensors nor its index" in refused(folder)


def test_gguf_is_not_advised_to_be_converted_as_a_pickle(folder):
    (folder / "model.safetensors").rename(folder / "model.Q4_K_M.gguf")
    assert "has its weights in GGUF, which is not read" in refused(folder)


def test_a_config_that_is_no_json_is_what_is_to_be_restored(folder):
    (folder / "config.json").write_text("{")
    assert "restore the config.json that came with this model" in refused(folder)


def test_code_of_another_repository_that_cannot_be_asked_is_not_the_folders_fault(folder):
    described = json.loads((folder / "config.json").read_text()) | {"model_type": "theirs"}
    described["auto_map"] = {"AutoConfig": "owner/other--configuration.Config"}
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(GatehouseError, match="HF_HUB_OFFLINE is set"):
        resolve(str(folder), trust_remote_code=True)


def test_an_architecture_that_is_not_known_is_no_missing_package():
    said = "does not recognize this architecture. Use `pip install --upgrade transformers`"
    assert "transformers cannot read it" in str(cannot_load("m", ValueError(said)))


def test_without_docstrings_the_variable_that_takes_them_away_is_named(monkeypatch):
    error = ValueError("No `Args` section is found in the docstring of `MoeModelOutput`")
    assert "PYTHONOPTIMIZE" not in str(cannot_load("m", error))
    monkeypatch.setattr(failures, "sys", SimpleNamespace(flags=SimpleNamespace(optimize=2)))
    assert "unset PYTHONOPTIMIZE, or set it to 1" in str(cannot_load("m", error))
