"""Checkpoints that are damaged, incomplete or dangerous: one line each, and nothing lands."""

import json
import pickle
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaModel

from gatehouse.warehouse.lake import Lake

ROUTER = "model.layers.1.block_sparse_moe.gate.weight"
EXPERT = "model.layers.2.block_sparse_moe.experts.3.w2.weight"
EMBEDDING = "model.embed_tokens.weight"


def edit_weight(folder: Path, name: str, place: object, value: float) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights[name][place] = value
    save_file(weights, path, metadata={"format": "pt"})


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def router_is_nan(folder: Path) -> None:
    edit_weight(folder, ROUTER, (2, 5), float("nan"))


def expert_is_infinite(folder: Path) -> None:
    edit_weight(folder, EXPERT, (0, 0), float("-inf"))


def token_without_embedding(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["router"])
    tokenizer.save_pretrained(folder)


def more_experts_chosen_than_there_are(folder: Path) -> None:
    edit_json(folder / "config.json", num_experts_per_tok=5)


def none_chosen(folder: Path) -> None:
    edit_json(folder / "config.json", num_experts_per_tok=0)


def claims_8_experts_and_has_4(folder: Path) -> None:
    edit_json(folder / "config.json", num_local_experts=8)


def tokenizer_is_garbage(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"a": 1}')


def tokenizer_is_empty(folder: Path) -> None:
    path = folder / "tokenizer.json"
    model = json.loads(path.read_text())["model"] | {"vocab": {}, "merges": []}
    edit_json(path, model=model, added_tokens=[])


def weights_are_cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def shard_is_missing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    half = len(names) // 2
    files = {
        f"model-0000{number}-of-00002.safetensors": part
        for number, part in enumerate((names[:half], names[half:]), 1)
    }
    for file, part in files.items():
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
    found = {name: file for file, part in files.items() for name in part}
    index = {"metadata": {}, "weight_map": found}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00002-of-00002.safetensors").unlink()


def layers_are_missing(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=4)


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    leave_pickle(folder)


def is_dense(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    sizes = {"vocab_size": 4096, "hidden_size": 16, "intermediate_size": 16}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaModel(LlamaConfig(**sizes, **heads)).save_pretrained(folder)


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def leave_pickle(folder: Path) -> None:
    for name in ("pytorch_model.bin", "model.pt", "consolidated.00.pth"):
        (folder / name).write_bytes(pickle.dumps(Trap(folder / "sprung")))


DAMAGE = {
    router_is_nan: r"'.+' has NaN or infinity among its weights \(layers\.1\.mlp\.gate\.weight\): "
    "the checkpoint is damaged, or",
    expert_is_infinite: r"has NaN or infinity among its weights \(layers\.2\.mlp\.experts\.",
    token_without_embedding: "the tokenizer gives token id 4096, but the model embeds the ids 0 to "
    "4,095: restore the tokenizer files",
    more_experts_chosen_than_there_are: r"layers\.0\.mlp\.gate has 4 experts and top-5 by its "
    "config: a router chooses",
    none_chosen: "has 4 experts and top-0 by its config: .* restore the model's own config.json",
    claims_8_experts_and_has_4: "its weights do not have the shapes that its config gives",
    tokenizer_is_garbage: "cannot load the tokenizer of '.+': restore the tokenizer files",
    tokenizer_is_empty: "has no tokens but 3 special ones: restore the tokenizer files",
    weights_are_cut_off: r"/model\.safetensors is damaged or incomplete: fetch or copy it again",
    shard_is_missing: r"lacks model-00002-of-00002\.safetensors, which its .+ names: fetch",
    layers_are_missing: r"lacks \d+ of its weights \(layers\.3\.",
    only_a_pickle: r"has no \.safetensors file: convert the checkpoint .+ are not read",
    is_dense: "LlamaModel has no MoE layers",
}


@pytest.fixture
def folder(tiny_mixtral, tmp_path) -> Path:
    return shutil.copytree(tiny_mixtral, tmp_path / "copy")


def landed(home: Path) -> list[str]:
    return [path.parent.name for path in (home / "lake").rglob("*.parquet")]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__.replace("_", " "))
def test_a_bad_model_is_one_line_and_nothing_lands(damage, folder, texts, home, run):
    damage(folder)
    code, out, err = run("capture", "--model", folder, "--dataset", texts, "--max-length", 64)
    *before, line = err.splitlines()
    assert (code, out) == (2, "") and not [each for each in before if "Traceback" in each]
    assert line.startswith("gatehouse: ")
    assert re.search(DAMAGE[damage], line), line
    assert not landed(home) and not (folder / "sprung").exists()
    # not even a trace that status and verify would call damaged
    assert Lake(home / "lake").run_ids() == []


def test_pickles_beside_safetensors_are_not_touched(folder, texts, home, run):
    leave_pickle(folder)
    code, _, _ = run("capture", "--model", folder, "--dataset", texts, "--max-length", 64)
    assert code == 0 and landed(home)
    assert not (folder / "sprung").exists()


@pytest.fixture
def rare(tmp_path, monkeypatch) -> Path:
    """16 samples in shards of 8, of which only sample 11 says `Zebra`."""
    monkeypatch.setattr("gatehouse.ingest.samples_file.SHARD_SAMPLES", 8)
    path = tmp_path / "rare.jsonl"
    texts = [f"the router sends {'every token ' * (n % 5)}" for n in range(16)]
    texts[11] = "the router sends Zebra to two experts"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_a_token_that_gives_nan_ends_the_run_by_name_and_what_landed_stays(folder, rare, home, run):
    """The rows of an embedding are not checked beforehand: most tokens never occur.

    Attention multiplies the NaN of later tokens by 0, so a sample's first token is NaN too.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    others, zebra = (tokenizer(text)["input_ids"] for text in ("the router sends", " Zebra"))
    token_id = next(token_id for token_id in zebra if token_id not in others)
    edit_weight(folder, EMBEDDING, token_id, float("nan"))
    command = ["capture", "--model", folder, "--dataset", rare, "--max-length", 64]
    code, out, err = run(*command)
    line = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert line.startswith(
        "gatehouse: layers.0.mlp.gate (MoE layer 0) scored sample 11, position 0 (token id 0) with "
        f"NaN or infinity, and so is the sample's token id {token_id} embedded: "
    )
    assert shards(home) == [(0, 8)]
    assert run(*command)[0] == 2 and shards(home) == [(0, 8)]


def shards(home: Path) -> list[tuple[int, int]]:
    """Return (shard, samples) of what has landed, according to the events."""
    files = sorted((home / "lake" / "events").rglob("*.parquet"))
    return [(int(f.stem[-5:]), len(set(pq.read_table(f)["sample_id"].to_pylist()))) for f in files]


def test_activations_that_overflow_are_named_where_a_router_meets_them(folder, rare, home, run):
    """Weights of 3e38 are finite, but their products are not."""
    edit_weight(folder, EXPERT.replace("layers.2", "layers.1"), slice(None), 3e38)
    code, _, err = run("capture", "--model", folder, "--dataset", rare, "--max-length", 64)
    assert code == 2
    assert re.search(
        r"^gatehouse: layers\.2\.mlp\.gate \(MoE layer 2\) scored sample \d+, position \d+ .*NaN",
        err,
        flags=re.M,
    )
    assert not landed(home)


def test_what_overflows_after_the_last_router_changes_no_event(
    folder, tiny_mixtral, rare, tmp_path, run
):
    """Reading the routing cannot show it, and need not: no router meets it."""
    edit_weight(folder, EXPERT, slice(None), 3e38)
    found = []
    for model, home in ((folder, "overflowing"), (tiny_mixtral, "sound")):
        command = ["capture", "--model", model, "--dataset", rare, "--max-length", 64]
        assert run(*command, "--home", tmp_path / home)[0] == 0
        files = sorted((tmp_path / home / "lake" / "events").rglob("*.parquet"))
        found.append(pa.concat_tables(pq.read_table(file, partitioning=None) for file in files))
    assert found[0].num_rows > 0 and found[0].equals(found[1])
