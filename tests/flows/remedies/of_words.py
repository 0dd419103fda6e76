"""Command lines that ask for what cannot be; what is printed is another command line."""

import os
from collections.abc import Callable

import pandas as pd

from tests.flows.remedies.remedy import CAPTURE, Place, Remedy, nothing

ONE = 'gatehouse sql "select 1 as one"'
TABLE = "gatehouse validate --input {folder}/table.parquet"
PREPARE = "gatehouse prepare --dataset {corpus} --output-dir"
OWN = "belongs to the warehouse: name another"


def corrected(
    command: str,
    says: str,
    remedy: str,
    correct: str,
    make: Callable[[Place], object] = nothing,
) -> Remedy:
    """Return the remedy of a command line that another one must take the place of."""
    return Remedy("the words of the command", command, says, remedy, make, then=correct)


def statistics(*layers: int) -> Callable[[Place], object]:
    """Return what writes a table of statistics, of some layers or of one that it does not name."""

    def write(place: Place) -> None:
        rows = pd.DataFrame({"token_id": [1, 2, 3], "token_str": "a", "frequency": [9, 5, 2]})
        shares = {"mean_confidence": 0.9, "routing_consistency": 0.9}
        rows = rows.assign(mean_entropy=[0.1, 0.2, 0.3], **shares)
        frames = [rows.assign(layer=layer) for layer in layers] or [rows]
        pd.concat(frames).to_parquet(place.folder / "table.parquet")

    return write


def of_others(place: Place) -> None:
    (place.folder / "others").mkdir()
    place.text("others/mine.txt", "mine")


def closed(place: Place) -> None:
    """As for a user who may not write there; root may."""
    real = os.access

    def access(path: str, mode: int) -> bool:
        return not str(path).endswith("/closed") and real(path, mode)

    (place.folder / "closed").mkdir()
    place.patch.setattr(os, "access", access)


ROWS = (
    corrected(
        "gatehouse sql --no-such-option",
        "No such option: --no-such-option… (see `gatehouse sql --help`)",
        "`gatehouse sql --help`",
        "gatehouse sql --help",
    ),
    corrected(
        f"{CAPTURE} --batch-size 0",
        "--batch-size must be 1 or more",
        "1 or more",
        f"{CAPTURE} --batch-size 1",
    ),
    corrected(
        "gatehouse verify --threads 0",
        "--threads 0: give a number of threads, 1 to 1,024",
        "give a number of threads",
        "gatehouse verify --threads 1",
    ),
    corrected(
        "gatehouse verify --memory-limit 8",
        "--memory-limit 8: give a size of 256MiB or more, such as 8GB",
        "such as 8GB",
        "gatehouse verify --memory-limit 8GB",
    ),
    corrected(
        f"{CAPTURE} --max-length 9999",
        "--max-length 9999: … takes at most 512 tokens",
        "takes at most 512 tokens",
        f"{CAPTURE} --max-length 512",
    ),
    corrected(
        f"{CAPTURE} --num-experts 9",
        "--num-experts 9, but … has 4: leave it out, the number is read from the model",
        "leave it out",
        CAPTURE,
    ),
    corrected(
        f"{CAPTURE} --device-map cuda:77",
        "--device-map cuda:77: no such device here; there is cpu…, or auto, … for all of them",
        "there is cpu",
        f"{CAPTURE} --device-map cpu",
    ),
    corrected(
        f"{CAPTURE} --attn-implementation flash_attention_2",
        "--attn-implementation flash_attention_2 needs a GPU and its flash-attn package: leave it "
        "out for sdpa",
        "leave it out",
        CAPTURE,
    ),
    corrected(
        "gatehouse validate --sweep --input {folder}/table.parquet",
        "--sweep goes through the warehouse's runs: leave --input out",
        "leave --input out",
        "gatehouse validate --sweep --layer 0",
    ),
    corrected(
        f"{TABLE} --run {{run}}",
        "--input and --run exclude each other: name one of them",
        "name one of them",
        TABLE,
        statistics(),
    ),
    corrected(
        TABLE,
        "… holds the layers 0, 1: choose one with --layer",
        "choose one with --layer",
        f"{TABLE} --layer 1",
        statistics(0, 1),
    ),
    corrected(
        f"{TABLE} --layer 1",
        "… has no column `layer`: leave --layer out",
        "leave --layer out",
        TABLE,
        statistics(),
    ),
    corrected(
        "gatehouse validate --input {folder}/tabel.parquet",
        "there is no file …: check the name given to --input",
        "check the name given to --input",
        TABLE,
        statistics(),
    ),
    corrected(
        "gatehouse validate --output {home}/lake/report.txt",
        f"… {OWN} file or folder",
        "name another file or folder",
        "gatehouse validate --output {folder}/report.txt",
    ),
    corrected(
        f"{PREPARE} {{home}}/lake",
        f"… {OWN} folder",
        "name another folder",
        f"{PREPARE} {{folder}}/prepared",
    ),
    corrected(
        f"{PREPARE} {{folder}}",
        "the warehouse lies in …: name a new folder",
        "name a new folder",
        f"{PREPARE} {{folder}}/prepared",
    ),
    corrected(
        f"{PREPARE} {{folder}}/others",
        "… holds other files: name a new or an empty folder",
        "name a new or an empty folder",
        f"{PREPARE} {{folder}}/prepared",
        of_others,
    ),
    corrected(
        "gatehouse sql select 1",
        'quote the query: gatehouse sql "select …"',
        'gatehouse sql "select …"',
        'gatehouse sql "select 1"',
    ),
    corrected(
        "gatehouse sql --output {folder}/one.csv",
        '--output takes a query: gatehouse sql "select …" --output FILE',
        'gatehouse sql "select …" --output FILE',
        f"{ONE} --output {{folder}}/one.csv",
    ),
    corrected(
        "gatehouse sql --examples --external-access",
        "--examples only reads the warehouse: leave --external-access out",
        "leave --external-access out",
        "gatehouse sql --examples",
    ),
    corrected(
        "gatehouse sql --examples all --output {folder}/all.csv",
        "--output takes the result of one example: name one",
        "name one",
        "gatehouse sql --examples layers_at_a_glance --output {folder}/all.csv",
    ),
    corrected(
        "gatehouse sql --examples layer_at_a_glance",
        "no example 'layer_at_a_glance': …",
        "no example",
        "gatehouse sql --examples layers_at_a_glance",
    ),
    corrected(
        "gatehouse sql --examples zzz",
        "no example 'zzz': `gatehouse sql --examples` lists them",
        "`gatehouse sql --examples`",
        "gatehouse sql --examples layers_at_a_glance",
    ),
    corrected(
        f"{ONE} --format parquet",
        "--format parquet needs a file: add --output FILE.parquet",
        "add --output FILE.parquet",
        f"{ONE} --format parquet --output {{folder}}/one.parquet",
    ),
    corrected(
        f"{ONE} --spreadsheet-safe",
        "--spreadsheet-safe is for CSV: add --format csv",
        "add --format csv",
        f"{ONE} --spreadsheet-safe --format csv",
    ),
    corrected(
        f"{ONE} --output {{folder}}/one.xyz",
        "no format for …/one.xyz: name it …, or add --format csv, json, parquet or markdown",
        "add --format csv",
        f"{ONE} --output {{folder}}/one.xyz --format csv",
    ),
    corrected(
        f"{ONE} --format csv --output {{folder}}",
        "… is not a file: name one",
        "name one",
        f"{ONE} --output {{folder}}/one.csv",
    ),
    corrected(
        f"{ONE} --output {{folder}}/new/one.csv",
        "there is no folder …: make it, or name another file",
        "name another file",
        f"{ONE} --output {{folder}}/one.csv",
    ),
    corrected(
        'gatehouse sql "select * from fct_layer"',
        "… (`show tables` lists the tables, `describe TABLE` its columns)",
        "`show tables` lists the tables",
        'gatehouse sql "show tables"',
    ),
    corrected(
        'gatehouse sql "select entropie from fct_layer_routing"',
        "… (`show tables` lists the tables, `describe TABLE` its columns)",
        "`describe TABLE`",
        'gatehouse sql "describe fct_layer_routing"',
    ),
    corrected(
        'gatehouse sql "create table mine as select 1"',
        "the warehouse is read-only: give one `select` statement",
        "give one `select` statement",
        'gatehouse sql "select 1"',
    ),
    corrected(
        "gatehouse sql --external-access \"copy (select 1) to '{home}/lake/x.csv'\"",
        "… belongs to the warehouse, which only Gatehouse writes: name another file",
        "name another file",
        "gatehouse sql --external-access \"copy (select 1) to 'x.csv'\"",
    ),
    corrected(
        f"{ONE} --output {{folder}}/closed/one.csv",
        "…/closed is not writable: name another file",
        "name another file",
        f"{ONE} --output {{folder}}/one.csv",
        closed,
    ),
)
