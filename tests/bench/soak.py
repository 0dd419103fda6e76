"""Capture 200 million events, or for half an hour, and watch the process: `make soak`.

A tiny Mixtral of many MoE layers runs over made-up texts through the real command. Every few
seconds the process's memory, open files and landed events are recorded; the slopes over the second
half are what would add up over days. SIGTERM ends the run, and what it captured must verify.
"""

import argparse
import csv
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gatehouse.warehouse.lake import Lake
from tests.conftest import WORDS, save_tiny_mixtral

SECONDS_BETWEEN_LOOKS = 5
LOOKS_OF_A_RATE = 12
GATEHOUSE = str(Path(sys.executable).with_name("gatehouse"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="at most")
    parser.add_argument("--events", type=float, default=200e6, help="at most")
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="gatehouse-soak-") as folder:
        model = make_model(Path(folder) / "model")
        corpus = make_corpus(Path(folder) / "texts.jsonl")
        home = Path(folder) / "home"

        def enough(look: dict[str, float]) -> bool:
            return look["seconds"] > 60 * options.minutes or look["events"] >= options.events

        looks, code = watch(capture_command(model, corpus, home), home, enough)
        subprocess.run([GATEHOUSE, "status", "--home", str(home)], check=True)
        verified = subprocess.run([GATEHOUSE, "verify", "--home", str(home)])
    save(looks, options.output)
    report(looks)
    sys.exit(0 if code == 128 + signal.SIGTERM and verified.returncode == 0 else 1)


def make_model(folder: Path) -> Path:
    """Save a random Mixtral of 24 MoE layers, 8 experts, top-2, with the bundled tokenizer."""
    narrow = {"hidden_size": 16, "intermediate_size": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return save_tiny_mixtral(folder, num_hidden_layers=24, num_local_experts=8, **narrow, **heads)


def make_corpus(path: Path, samples: int = 500_000) -> Path:
    """Write more texts than can be captured in half an hour."""
    generator = random.Random(1)
    with open(path, "w") as file:
        for _ in range(samples):
            text = " ".join(generator.choices(WORDS, k=generator.randint(5, 60)))
            file.write(json.dumps({"text": text}) + "\n")
    return path


def capture_command(model: Path, corpus: Path, home: Path) -> list[str]:
    words = ["--model", str(model), "--dataset", str(corpus), "--num-samples", "500000"]
    words += ["--batch-size", "32", "--max-length", "128", "--home", str(home)]
    return [GATEHOUSE, "capture", *words]


def watch(
    command: list[str], home: Path, enough: Callable[[dict[str, float]], bool]
) -> tuple[list[dict[str, float]], int]:
    """Return what was observed of the process, and its exit code after SIGTERM."""
    process = subprocess.Popen(command)
    proc, looks, began = Path(f"/proc/{process.pid}"), [], None
    while process.poll() is None:
        select.select([], [], [], SECONDS_BETWEEN_LOOKS)
        lake = Lake(home / "lake")
        recorded = map(lake.shards.recorded, lake.run_ids())
        events = [row["events"] for rows in recorded for row in rows.values()]
        if not events:
            continue
        began = began or time.monotonic()
        looks.append(
            {
                "seconds": time.monotonic() - began,
                "events": sum(events),
                "megabytes": resident_megabytes(proc),
                "open_files": len(os.listdir(proc / "fd")),
                "threads": len(os.listdir(proc / "task")),
            }
        )
        if enough(looks[-1]):
            process.send_signal(signal.SIGTERM)
            break
    return looks, process.wait()


def resident_megabytes(proc: Path) -> float:
    (line,) = [line for line in (proc / "status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) / 1024


def save(looks: list[dict[str, float]], folder: Path) -> None:
    """Write soak.csv, and the three curves as soak.png."""
    import matplotlib.pyplot as plt

    with open(folder / "soak.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, looks[0].keys())
        writer.writeheader()
        writer.writerows(looks)
    columns = ("seconds", "events", "megabytes", "open_files")
    seconds, events, memory, files = (np.array([look[name] for look in looks]) for name in columns)
    apart = min(LOOKS_OF_A_RATE, len(looks) - 1)
    rates = (events[apart:] - events[:-apart]) / (seconds[apart:] - seconds[:-apart]) / 1000
    figure, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True, layout="constrained")
    figure.suptitle(f"{events[-1] / 1e6:,.0f} million events, captured without a pause")
    curves = (
        (seconds[apart:], rates, "thousand events\na second"),
        (seconds, memory, "resident MB"),
        (seconds, files, "open files"),
    )
    for axis, (places, values, name) in zip(axes, curves, strict=True):
        axis.plot(places / 60, values)
        axis.set_ylabel(name)
        axis.set_ylim(0, 1.2 * values.max())
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("minutes")
    figure.savefig(folder / "soak.png", dpi=150)


def report(looks: list[dict[str, float]]) -> None:
    """Print the slopes of the second half, and the throughput of each tenth."""
    half = looks[len(looks) // 2 :]
    hours = np.array([look["seconds"] for look in half]) / 3600
    last = looks[-1]
    print(f"{last['events']:,.0f} events in {last['seconds'] / 60:.1f} min")
    for name in ("megabytes", "open_files", "threads"):
        values = np.array([look[name] for look in half])
        slope = np.polyfit(hours, values, 1)[0]
        print(f"{name}: {values.mean():,.1f} on average, {slope:+,.2f} an hour")
    tenths = np.array_split(np.array([[look["seconds"], look["events"]] for look in looks]), 10)
    rates = [
        (part[-1, 1] - part[0, 1]) / (part[-1, 0] - part[0, 0]) for part in tenths if len(part) > 1
    ]
    print("events a second by tenth: " + " ".join(f"{rate:,.0f}" for rate in rates))


if __name__ == "__main__":
    main()
