"""Train the bundled model: `python -m gatehouse.models.demo.train [--output DIRECTORY]`.

A four-layer Mixtral with 8 experts, top-2, on the docstrings of installed packages.
Writes the tokenizer, bf16 safetensors and the model card (README.md).
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM, PreTrainedTokenizerFast
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from gatehouse.models.demo.card import Measurements, write_card
from gatehouse.models.demo.text import HELD_OUT_ONE_IN, PACKAGES, Document, read_documents

SEED = 20_26
VOCABULARY = 4096
WINDOW = 512
BATCH = 16
EPOCHS = 1
PEAK_LEARNING_RATE = 3e-3
WARMUP_STEPS = 100
BALANCE_WEIGHT = 0.02


def train_tokenizer(documents: list[Document]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of `VOCABULARY` tokens that puts `<s>` before each text."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        (document.text for document in documents if not document.held_out),
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        show_progress=False,
    )
    bpe._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    """Return the texts as one int32 stream, each opened by `<s>` and closed by `</s>`."""
    encoded = tokenizer(texts, add_special_tokens=True)["input_ids"]
    return np.concatenate([np.array([*ids, tokenizer.eos_token_id], np.int32) for ids in encoded])


def windows(stream: np.ndarray) -> torch.Tensor:
    """Cut an int32 stream into rows [n, WINDOW]; the incomplete last row is left out."""
    rows = len(stream) // WINDOW
    return torch.from_numpy(stream[: rows * WINDOW].reshape(rows, WINDOW)).long()


def build_model() -> MixtralForCausalLM:
    """Return the untrained model; about 4.4 M parameters."""
    config = MixtralConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        router_jitter_noise=0.0,
        sliding_window=None,
    )
    model = MixtralForCausalLM(config)
    model.set_experts_implementation("eager")  # fastest of the three on two CPU cores
    return model


def losses(model: MixtralForCausalLM, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (next-token cross-entropy in nats, mean balance loss over layers) for ids [B, T].

    The balance loss is Switch Transformer's (arXiv 2101.03961, eq. 4), one term per layer:
    transformers pools all layers into one term, which lets single layers collapse.
    """
    output = model(input_ids=batch, output_router_logits=True, use_cache=False)
    cross_entropy = nn.functional.cross_entropy(
        output.logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten()
    )
    config = model.config
    balance = sum(
        load_balancing_loss_func((logits,), config.num_local_experts, config.num_experts_per_tok)
        for logits in output.router_logits
    )
    return cross_entropy, torch.as_tensor(balance) / config.num_hidden_layers


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up to the peak, then a cosine to a tenth of it."""
    if step < WARMUP_STEPS:
        return PEAK_LEARNING_RATE * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return PEAK_LEARNING_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def fit(model: MixtralForCausalLM, rows: torch.Tensor) -> None:
    """Train in place for `EPOCHS` over rows [n, WINDOW] of token ids."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    order = torch.cat([torch.randperm(len(rows)) for _ in range(EPOCHS)])
    steps = len(order) // BATCH
    started = time.monotonic()
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        batch = rows[order[step * BATCH : (step + 1) * BATCH]].to(model.device)
        cross_entropy, balance = losses(model, batch)
        optimizer.zero_grad(set_to_none=True)
        (cross_entropy + BALANCE_WEIGHT * balance).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 or step == steps - 1:
            seconds = time.monotonic() - started
            rate = (step + 1) * BATCH * WINDOW / seconds
            print(
                f"step {step}/{steps}  loss {cross_entropy.item():.3f}  "
                f"balance {balance.item():.3f}  {rate:,.0f} tokens/s  {seconds:,.0f} s",
                flush=True,
            )


@torch.no_grad()
def evaluate(model: MixtralForCausalLM, rows: torch.Tensor) -> tuple[float, np.ndarray]:
    """Return (held-out loss in nats per token, load shares [layers, experts] that sum to 1)."""
    model.eval()
    config = model.config
    counts = torch.zeros(config.num_hidden_layers, config.num_local_experts)
    total = 0.0
    for batch in rows.split(BATCH):
        batch = batch.to(model.device)
        output = model(input_ids=batch, output_router_logits=True, use_cache=False)
        total += nn.functional.cross_entropy(
            output.logits[:, :-1].flatten(0, 1).float(), batch[:, 1:].flatten(), reduction="sum"
        ).item()
        for layer, logits in enumerate(output.router_logits):
            chosen = logits.topk(config.num_experts_per_tok).indices.flatten()
            counts[layer] += chosen.bincount(minlength=config.num_local_experts).cpu()
    predicted = rows.shape[0] * (rows.shape[1] - 1)
    return total / predicted, (counts / counts.sum(1, keepdim=True)).numpy()


def unigram_loss(train: torch.Tensor, held_out: torch.Tensor) -> float:
    """Return the held-out loss (nats) of add-one-smoothed training frequencies."""
    counts = train.flatten().bincount(minlength=VOCABULARY) + 1
    return -(counts / counts.sum()).log()[held_out[:, 1:]].mean().item()


def main() -> None:
    """Train, evaluate the saved bf16 weights, and write everything to the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    output = parser.parse_args().output
    torch.manual_seed(SEED)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    documents = read_documents()
    print(f"{len(documents):,} documents", flush=True)
    tokenizer = train_tokenizer(documents)
    streams = [
        tokenize(tokenizer, [d.text for d in documents if d.held_out == side])
        for side in (False, True)
    ]
    train_rows, held_out_rows = map(windows, streams)
    print(f"{len(streams[0]):,} training tokens, {len(streams[1]):,} held out", flush=True)
    with torch.device(device):
        model = build_model()
    started = time.monotonic()
    fit(model, train_rows)
    minutes = (time.monotonic() - started) / 60
    model.bfloat16().save_pretrained(output)
    tokenizer.save_pretrained(output)
    saved = MixtralForCausalLM.from_pretrained(output, dtype=torch.float32, device_map=device)
    loss, load = evaluate(saved, held_out_rows)
    write_card(
        output / "README.md",
        Measurements(
            documents=len(documents),
            megabytes=sum(len(d.text.encode("utf-8", "replace")) for d in documents) / 1e6,
            train_tokens=train_rows.numel() * EPOCHS,
            held_out_tokens=held_out_rows.numel(),
            parameters=sum(p.numel() for p in saved.parameters()),
            minutes=minutes,
            device=f"{device}, {torch.get_num_threads()} CPU threads",
            held_out_loss=loss,
            unigram_loss=unigram_loss(train_rows, held_out_rows),
            load=load,
        ),
        {
            "packages": ", ".join(PACKAGES),
            "held_out_one_in": HELD_OUT_ONE_IN,
            "epochs": EPOCHS,
            "window": WINDOW,
            "batch": BATCH,
            "rate": PEAK_LEARNING_RATE,
            "warmup": WARMUP_STEPS,
            "seed": SEED,
            "balance": BALANCE_WEIGHT,
        },
    )
    print(f"held-out loss {loss:.3f}, smallest load {load.min():.3f}", flush=True)


if __name__ == "__main__":
    main()
