"""The options of `gatehouse run`, and of its first steps `prepare`, `fetch` and `capture`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.models.aliases import ALIASES

OF_A_RUN: dict[str, Any] = {
    "model": typer.Option(
        help=f"A hub id, a folder with safetensors, or one of {', '.join(ALIASES)}."
    ),
    "revision": typer.Option(help="Branch, tag or commit of a hub model."),
    "dataset": typer.Option(
        help="pydoc (bundled), c4, wikitext, a hub id, a local file or folder, or - for standard "
        "input. Of a folder with splits, train is read."
    ),
    "num_samples": typer.Option(help="Number of samples to take."),
    "first_sample": typer.Option(help="Index of the first sample to take."),
    "batch_size": typer.Option(
        help="Memory for a batch: the tokens of this many samples of --max-length. "
        "It is halved if memory runs out, on a GPU or a CPU, and does not change the events."
    ),
    "max_length": typer.Option(help="Longest sequence in tokens, those of --generate included."),
    "windows": typer.Option(
        "--windows",
        help="Cut long samples into consecutive windows instead of truncating them. The model "
        "reads each on its own, later ones without an opening token.",
    ),
    "generate": typer.Option(
        metavar="N",
        help="Let the model add at most N tokens to each sample (for a chat: answer it), and "
        "capture prompt and addition in one pass. The prompt keeps its first --max-length - N "
        "tokens. Not with --windows.",
    ),
    "temperature": typer.Option(
        metavar="T",
        help="Of --generate: draw tokens by the softmax of the logits divided by T. "
        "Default: take the likeliest token.",
    ),
    "seed": typer.Option(
        metavar="S", help="Of --temperature: another seed draws other tokens, the same every time."
    ),
    "output_norms": typer.Option(
        "--output-norms",
        help="Also land the norm of each chosen expert's output before its weight, for keep sets "
        "by EAN and REAP. The events are otherwise the same.",
    ),
    "create_splits": typer.Option(
        "--create-splits", help="Also write train, validation and test files (8:1:1, by document)."
    ),
    "skip_broken": typer.Option(
        "--skip-broken",
        help="Leave out lines and files that cannot be read as documents (not UTF-8, not JSON, no "
        "text); they are counted, and the first is named.",
    ),
    "lines": typer.Option(
        "--lines", help="Each line of a .txt file is a document; otherwise the file is one."
    ),
    "text_field": typer.Option(
        metavar="NAME",
        help="Field of rows that holds the text or a chat; dots lead into nested fields. "
        "Default: text, else messages or conversations.",
    ),
    "domain_field": typer.Option(
        metavar="NAME",
        help="Field of rows that names the text's domain. Default: domain, meta.pile_set_name, "
        "source and their like, else the file or folder.",
    ),
    "document_field": typer.Option(
        metavar="NAME",
        help="Field of rows that names the document a text is part of. "
        "Blocks and splits keep a document together. Default: each text is a document.",
    ),
    "chat_as_text": typer.Option(
        "--chat-as-text",
        help="Take what is said in a chat as plain text, a blank line between turns. Default: the "
        "model's chat template.",
    ),
    "dtype": typer.Option(
        help="float32, bfloat16, float16, or auto: the checkpoint's own on a GPU, float32 on a CPU."
    ),
    "quantize": typer.Option(
        metavar="[4bit|8bit|none]",
        help="Load the experts' and all linear weights in 4 or 8 bits; routers stay as they are. "
        "--quantize alone is 4bit, --no-quantize is none. auto: 4bit if the full model does not "
        "fit on the GPU.",
    ),
    "device_map": typer.Option(
        help="cpu, cuda, cuda:1, ...; or auto, balanced, sequential: spread over all devices. "
        "Default: the GPU if there is one."
    ),
    "attn_implementation": typer.Option(
        help="sdpa, eager, flash_attention_2, ... Default: what transformers chooses."
    ),
    "trust_remote_code": typer.Option(
        "--trust-remote-code", help="Run the code in the model's repository."
    ),
    "num_experts": typer.Option(
        help="Stop if the model has a different number of experts (read from the model)."
    ),
    "layer": typer.Option("--layer", help="MoE layer to validate and draw: an index, or all."),
    "frequency_threshold": typer.Option(help="Fast path: a token must occur more often than this."),
    "entropy_threshold": typer.Option(
        help="Fast path: its mean entropy must be below this, in nats."
    ),
    "output": typer.Option(
        "--output",
        help="Folder of the results (new, empty or of results), or a .parquet path in it. "
        "Default: by run id.",
    ),
    "name": typer.Option(
        help="A name for the run: shown beside its id, and good wherever a run is asked for."
    ),
    "metrics": typer.Option(
        metavar="FILE",
        help="Write how far the capture is and how fast: a .jsonl gets a line for every shard, a "
        ".prom is OpenMetrics text for Prometheus.",
    ),
    "workers": typer.Option(
        metavar="N",
        help="Capture with N processes on this machine, each with the model loaded once, a GPU of "
        "its own and its share of the cores; `run` builds in one. "
        "Needs `pip install 'gatehouse[cluster]'`.",
    ),
    "scheduler": typer.Option(
        metavar="ADDRESS",
        help="Capture with the workers of a Dask scheduler that is there: tcp://HOST:PORT, or its "
        "scheduler file. They see the home under the same path, have the same packages, and take "
        "one shard at a time (`dask worker --nthreads 1`). `run` itself builds, in one process.",
    ),
    "spreadsheet_safe": typer.Option(
        "--spreadsheet-safe",
        help="In CSV, put a ' before text that a spreadsheet would run as a formula. "
        "By default CSV holds every text as it is.",
    ),
}
"""The option of each field of `RunRequest`, which has its type and default."""

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Capture nothing: prepare the text, try two batches, and print the events, time, "
        "memory and disk that the run would take. Exit code 2 if the disk cannot hold it.",
    ),
]
NoRank = Annotated[str | None, typer.Option("--rank", hidden=True)]
TrustRemoteCode = Annotated[bool, OF_A_RUN["trust_remote_code"]]
PreparedFolder = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        help="Folder of the prepared text: new, empty or of such text. Default: in the home.",
    ),
]
ModelName = Annotated[str | None, typer.Argument(metavar="MODEL", help="The same as --model.")]
AnalyzeStructure = Annotated[
    bool,
    typer.Option(
        "--analyze-structure",
        help="Print the MoE structure from the config, without weights.",
    ),
]
Test = Annotated[bool, typer.Option("--test", help="Load the model and route one sentence.")]
