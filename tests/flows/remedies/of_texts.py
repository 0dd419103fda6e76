"""Texts and tables that cannot be read as they are."""

import subprocess
from collections.abc import Callable

from tests.flows.remedies.remedy import Place, Remedy

PREPARE = "gatehouse prepare --dataset {folder}"


def text(name: str, content: str | bytes) -> Callable[[Place], object]:
    """Return what writes a file."""
    return lambda place: place.text(name, content)


GOOD = """token_id,token_str,frequency,mean_entropy,mean_confidence,routing_consistency
1,a,9,0.1,0.9,0.9
2,b,5,0.2,0.9,0.9
3,c,2,0.3,0.9,0.9
"""


def packed(place: Place) -> None:
    """Pack a text with a window that a reader must be told to allow."""
    place.text("long.txt", "the router sends a token to two experts\n" * 9)
    words = ["zstd", "--ultra", "-22", "--long=31", "-q", "--no-progress", "long.txt"]
    with open(place.folder / "long.txt") as stream, open(place.folder / "l.txt.zst", "wb") as file:
        subprocess.run([*words[:-1], "-c"], stdin=stream, stdout=file, check=True)


ROWS = (
    Remedy(
        "a line that is no JSON",
        f"{PREPARE}/broken.jsonl",
        "… line 2 is not JSON (…): mend or remove the line, or leave broken texts out with "
        "--skip-broken",
        "--skip-broken",
        text("broken.jsonl", '{"text": "the router"}\n{"text": \n'),
        then=f"{PREPARE}/broken.jsonl --skip-broken",
    ),
    Remedy(
        "rows without a field that is known as the text",
        f"{PREPARE}/odd.jsonl",
        "…: name the field of the text with --text-field, or leave broken texts out with "
        "--skip-broken",
        "--text-field",
        text("odd.jsonl", '{"body of it": "the router", "n": 1}\n'),
        then=f'{PREPARE}/odd.jsonl --text-field "body of it"',
    ),
    Remedy(
        "a domain that is no text",
        f"{PREPARE}/odd.jsonl --domain-field of",
        "…: name a field of strings with --domain-field, or leave it out…",
        "--domain-field",
        text("odd.jsonl", '{"text": "the router", "of": [1], "kind": "law"}\n'),
        then=f"{PREPARE}/odd.jsonl --domain-field kind",
    ),
    Remedy(
        "a document that is no text",
        f"{PREPARE}/odd.jsonl --document-field of",
        "…: name a field of strings with --document-field, or leave it out…",
        "--document-field",
        text("odd.jsonl", '{"text": "the router", "of": [1], "kind": "law"}\n'),
        then=f"{PREPARE}/odd.jsonl --document-field kind",
    ),
    Remedy(
        "a text in Latin-1",
        f"{PREPARE}/latin.txt",
        "… re-encode it from the encoding that it was written in, `iconv -f ENCODING -t utf-8`…",
        "`iconv -f ENCODING -t utf-8`",
        text("latin.txt", "Größe über alles, Café\n".encode("latin-1")),
        done=("iconv -f latin1 -t utf-8 latin.txt -o utf8.txt",),
        then=f"{PREPARE}/utf8.txt",
    ),
    Remedy(
        "a text in UTF-16",
        f"{PREPARE}/wide.txt",
        "…: write it in UTF-8, with `iconv -f … -t UTF-8`",
        "`iconv -f … -t UTF-8`",
        text("wide.txt", "the router\n".encode("utf-16-le")),
        done=("iconv -f UTF-16LE -t UTF-8 wide.txt -o utf8.txt",),
        then=f"{PREPARE}/utf8.txt",
    ),
    Remedy(
        "a text with bytes of no encoding",
        f"{PREPARE}/half.txt",
        "… is damaged …: copy it again, or write it in UTF-8",
        "copy it again",
        text("half.txt", b"\xff\xfet\x00h\x00\xd8a\x00"),
        text("half.txt", "the router\n"),
    ),
    Remedy(
        "a table that is no CSV",
        "gatehouse validate --input {folder}/table.csv",
        "… is not readable CSV in UTF-8 (…): write it again",
        "write it again",
        text("table.csv", b"token_id,frequency\n1,\xff\n"),
        text("table.csv", GOOD),
    ),
    Remedy(
        "a text that zstd packed with --long",
        f"{PREPARE}/l.txt.zst",
        "…: unpack it with `zstd -d --long=31` and name the file that this writes",
        "`zstd -d --long=31`",
        packed,
        done=("zstd -d --long=31 -q l.txt.zst",),
        then=f"{PREPARE}/l.txt",
    ),
)
