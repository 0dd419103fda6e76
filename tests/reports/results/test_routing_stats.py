"""Round trips through both formats, and every bad file named in one line with a way out."""

import csv
import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatehouse.reports.results.routing_stats import STATISTICS, read_statistics, write_statistics
from gatehouse.reports.verdict.usable import special_by_shape, usable_rows
from gatehouse.warehouse.errors import GatehouseError

FORMULAS = ("=cmd|' /C calc'!A0", "@SUM", "+1", "-x", "\t=1", "\r=1", "'=1", "''-")


def save(frame: pd.DataFrame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.fixture(params=[".parquet", ".csv"])
def suffix(request) -> str:
    return request.param


def test_both_files_give_the_table_back(frame, tmp_path):
    parquet, text = write_statistics(frame, tmp_path / "results")
    assert (parquet.name, text.name) == ("routing_stats.parquet", "routing_stats.csv")
    for path in (parquet, text):
        table = read_statistics(path)
        assert (table.excluded.rows, table.layer) == (0, None)
        pd.testing.assert_frame_equal(
            table.frame, frame, check_dtype=False, check_column_type=False
        )
    assert sorted(each.name for each in parquet.parent.iterdir()) == [text.name, parquet.name]


def test_parquet_has_the_specified_schema_and_null_for_a_single_occurrence(make_frame, tmp_path):
    frame = make_frame(3000)
    assert frame["std_entropy"].isna().any()
    parquet, text = write_statistics(frame, tmp_path)
    table = pq.read_table(parquet)
    assert table.schema.equals(STATISTICS)
    assert table["std_entropy"].null_count == frame["std_entropy"].isna().sum()
    header = text.read_text(encoding="utf-8").splitlines()[0].replace('"', "")
    assert header.split(",") == STATISTICS.names


def test_the_files_own_name_can_be_given(frame, tmp_path):
    assert write_statistics(frame, tmp_path / "mine.parquet") == (
        tmp_path / "mine.parquet",
        tmp_path / "mine.csv",
    )
    assert write_statistics(frame, tmp_path / "other.csv")[0] == tmp_path / "other.parquet"


def test_any_text_survives_as_token(tmp_path):
    texts = [chr(code) for code in range(256)] + [
        *FORMULAS,
        "a,b",
        'say "x"',
        "\r\n",
        "nan",
        "é\u202e",
        "😀",
    ]
    frame = pd.DataFrame(
        {
            "token_id": range(len(texts)),
            "token_str": texts,
            "frequency": range(1000, 1000 - len(texts), -1),
            **{name: 0.5 for name in STATISTICS.names[3:8]},
            "top_expert": 1,
            "min_entropy": 0.1,
            "max_entropy": 0.9,
        }
    )
    for path in write_statistics(frame, tmp_path):
        assert read_statistics(path).frame["token_str"].to_list() == texts
    # and another program reads the same
    text = tmp_path / "routing_stats.csv"
    plain = {"dtype": {"token_str": str}, "keep_default_na": False, "encoding": "utf-8"}
    assert pd.read_csv(text, **plain)["token_str"].to_list() == texts


def test_no_cell_is_a_formula_if_a_spreadsheet_is_to_read_it(frame, tmp_path):
    frame["token_str"] = [*FORMULAS, *frame["token_str"][len(FORMULAS) :]]
    text = write_statistics(frame, tmp_path, spreadsheet_safe=True)[1]
    with open(text, encoding="utf-8", newline="") as file:
        cells = [row["token_str"] for row in csv.DictReader(file)]
    assert cells[: len(FORMULAS)] == [f"'{each}" for each in FORMULAS]


def test_line_breaks_in_tokens_survive_in_a_large_file(make_frame, tmp_path):
    frame = make_frame(20_000)
    frame["token_str"] = [f"first\n{index}\r\n\n" for index in frame["token_id"]]
    text = write_statistics(frame, tmp_path)[1]
    assert text.stat().st_size > 2 * 2**20
    assert read_statistics(text).frame["token_str"].to_list() == frame["token_str"].to_list()


def test_padded_numbers_and_missing_ones_in_csv(frame, tmp_path):
    written = frame.astype(object)
    written["frequency"] = [f" {value} " for value in frame["frequency"]]
    written["std_entropy"] = [" NA ", "null", " ", "None", *frame["std_entropy"][4:]]
    written["mean_entropy"] = ["NaN", " inf", *frame["mean_entropy"][2:]]
    table = read_statistics(save(written, tmp_path / "padded.csv"))
    assert table.excluded.rows == 2
    assert table.frame["frequency"].to_list() == frame["frequency"][2:].to_list()
    assert table.frame["std_entropy"].isna().sum() == 2


def test_other_programs_files_are_read(frame, tmp_path, suffix):
    fewer = frame.drop(columns=["std_entropy", "top_expert"]).assign(note="kept out")
    path = save(fewer.sample(frac=1, random_state=1), tmp_path / f"theirs{suffix}")
    table = read_statistics(path)
    expected = frame.drop(columns=["std_entropy", "top_expert"])
    pd.testing.assert_frame_equal(table.frame, expected, check_dtype=False)


IMPOSSIBLE = [
    ("frequency", 0),
    ("frequency", 1.5),
    ("frequency", np.nan),
    ("token_id", -1),
    ("mean_entropy", np.nan),
    ("mean_entropy", np.inf),
    ("mean_entropy", -0.01),
    ("mean_entropy", 22.0),
    ("mean_entropy", 1e308),
    ("mean_confidence", np.nan),
    ("mean_confidence", 1.2),
    ("routing_consistency", np.inf),
    ("routing_consistency", 0.0),
]


def test_impossible_rows_are_excluded_and_counted(frame, tmp_path, suffix):
    broken = frame.astype({"frequency": float, "token_id": float})
    for row, (column, value) in enumerate(IMPOSSIBLE):
        broken.loc[row, column] = value
    table = read_statistics(save(broken, tmp_path / f"broken{suffix}"))
    assert table.excluded.rows == len(IMPOSSIBLE)
    assert set(table.frame["token_id"]) == set(frame["token_id"][len(IMPOSSIBLE) :])


def test_rounding_and_missing_spreads_are_no_errors(frame):
    frame.loc[0, "mean_entropy"] = -1e-7
    frame.loc[1, "mean_confidence"] = 1 + 1e-7
    frame["std_entropy"] = np.nan
    usable, excluded = usable_rows(frame)
    assert (len(usable), excluded.rows) == (len(frame), 0)


def test_one_layer_of_several_is_chosen(make_frame, tmp_path, suffix):
    frames = [make_frame(50, seed).assign(layer=seed) for seed in (0, 2)]
    both = pd.concat(frames)[["layer", *STATISTICS.names]]
    path = {each.suffix: each for each in write_statistics(both, tmp_path)}[suffix]
    table = read_statistics(path, layer=2)
    assert table.layer == 2
    pd.testing.assert_frame_equal(table.frame, frames[1].drop(columns="layer"), check_dtype=False)
    with pytest.raises(GatehouseError, match="holds the layers 0, 2: choose one with --layer"):
        read_statistics(path)
    with pytest.raises(GatehouseError, match="no layer 1: it holds the layers 0, 2"):
        read_statistics(path, layer=1)


def test_a_single_layer_needs_no_choice(frame, tmp_path, suffix):
    path = save(frame.assign(layer=3), tmp_path / f"one{suffix}")
    assert read_statistics(path).layer == 3


def test_a_layer_cannot_be_chosen_without_the_column(frame, tmp_path):
    path = save(frame, tmp_path / "one.parquet")
    with pytest.raises(GatehouseError, match="no column `layer`: leave --layer out"):
        read_statistics(path, layer=0)


BAD_FRAMES = {
    "lacks or repeats the column mean_entropy, routing_consistency": lambda frame: frame.drop(
        columns=["mean_entropy", "routing_consistency"]
    ),
    "has no rows": lambda frame: frame.head(0),
    "2 usable rows": lambda frame: frame.head(2),
    "column frequency is not numbers": lambda frame: frame.assign(frequency="often"),
    "token ids more than once": lambda frame: pd.concat([frame, frame.head(5)]),
    "layer is not a whole number": lambda frame: frame.assign(layer=[0.5] + [0] * (len(frame) - 1)),
}


@pytest.mark.parametrize("message", BAD_FRAMES)
def test_bad_tables_are_refused(frame, tmp_path, suffix, message):
    path = save(BAD_FRAMES[message](frame), tmp_path / f"bad{suffix}")
    with pytest.raises(GatehouseError, match=message) as error:
        read_statistics(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_type_that_only_parquet_can_get_wrong_is_refused(frame, tmp_path):
    path = save(frame.assign(token_str=1), tmp_path / "bad.parquet")
    with pytest.raises(GatehouseError, match="column token_str is not text"):
        read_statistics(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.parquet", b"", "not readable Parquet"),
        ("empty.csv", b"", "not readable CSV"),
        ("text.parquet", b"token_id,frequency\n1,2\n", "not readable Parquet"),
        ("latin.csv", "token_str\nä\n".encode("latin-1"), "not readable CSV"),
        ("ragged.csv", b"token_id,token_str\n1\n", "line 2 has 1 cell"),
        ("table.xlsx", b"x", r"neither \.parquet, \.arrow, \.csv nor \.tsv"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(GatehouseError, match=message) as error:
        read_statistics(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "folder.parquet").mkdir()
    for name in ("missing.csv", "folder.parquet"):
        with pytest.raises(GatehouseError, match="there is no file"):
            read_statistics(tmp_path / name)


def test_dictionary_columns_are_read(frame, tmp_path):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    position = table.schema.get_field_index("token_str")
    encoded = table.set_column(position, "token_str", table["token_str"].dictionary_encode())
    pq.write_table(encoded, tmp_path / "encoded.parquet")
    read = read_statistics(tmp_path / "encoded.parquet").frame
    assert read["token_str"].to_list() == frame["token_str"].to_list()


def test_special_tokens_are_recognised_by_shape():
    special = ["<s>", "</s>", "<|endoftext|>", "[CLS]", "[MASK_1]", "<unk>", " <pad> "]
    ordinary = ["<", ">", "<>", "a < b", "< s>", "[", "[a]", "list[INT]", "", "<0x0A>", "s>"]
    result = special_by_shape(pd.Series(special + ordinary))
    assert result.to_list() == [True] * len(special) + [False] * len(ordinary)


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string()])
def test_every_kind_of_text_column_is_read(frame, tmp_path, kind):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    position = table.schema.get_field_index("token_str")
    stored = table.set_column(position, "token_str", table["token_str"].cast(kind))
    pq.write_table(stored, tmp_path / "stored.parquet")
    read = read_statistics(tmp_path / "stored.parquet").frame
    assert read["token_str"].to_list() == frame["token_str"].to_list()


DELIMITED = {
    "upper.CSV": (",", bytes),
    "packed.csv.gz": (",", gzip.compress),
    "packed.csv.zst": (",", lambda content: pa.Codec("zstd").compress(content).to_pybytes()),
    "tabs.tsv": ("\t", bytes),
    "tabs.csv": ("\t", bytes),
    "semicolons.csv": (";", bytes),
    "marked.csv": (",", lambda content: content.decode().encode("utf-16")),
    "packed.csv": (",", gzip.compress),
}


@pytest.mark.parametrize("name", DELIMITED)
def test_delimited_text_is_read_in_every_form(frame, tmp_path, name):
    delimiter, pack = DELIMITED[name]
    (tmp_path / name).write_bytes(pack(frame.to_csv(sep=delimiter, index=False).encode()))
    write_statistics(frame, tmp_path / "plain.csv")
    plain, read = read_statistics(tmp_path / "plain.csv"), read_statistics(tmp_path / name)
    pd.testing.assert_frame_equal(read.frame, plain.frame)


def test_an_arrow_table_and_a_packed_parquet_file_are_read(frame, tmp_path):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, tmp_path / "plain.parquet")
    plain = read_statistics(tmp_path / "plain.parquet").frame
    packed = gzip.compress((tmp_path / "plain.parquet").read_bytes())
    (tmp_path / "packed.parquet.gz").write_bytes(packed)
    for name, form in (("file.arrow", pa.ipc.new_file), ("stream.arrow", pa.ipc.new_stream)):
        with form(tmp_path / name, table.schema) as writer:
            writer.write_table(table)
    for name in ("packed.parquet.gz", "file.arrow", "stream.arrow"):
        pd.testing.assert_frame_equal(read_statistics(tmp_path / name).frame, plain)


def test_a_cell_that_is_no_number_names_its_row(frame, tmp_path):
    path = tmp_path / "cells.csv"
    for cell in ("N/A", "<NA>", "#N/A", ""):
        texts = frame.astype(object).copy()
        texts.loc[3, "std_entropy"] = cell
        texts.to_csv(path, index=False)
        assert read_statistics(path).frame["std_entropy"].isna().sum() == 1
    texts.loc[3, "std_entropy"] = "1,001"
    texts.to_csv(path, index=False)
    with pytest.raises(GatehouseError, match="std_entropy is not numbers but has '1,001' in row 3"):
        read_statistics(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wide.csv", "token_id,token_str\n".encode("utf-16-le"), "UTF-16LE.*iconv -f UTF-16LE"),
        ("archive.csv", b"PK\x03\x04" + bytes(30), "a zip archive: unpack it"),
        ("pointer.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("cut.csv.gz", gzip.compress(bytes(9_000), mtime=0)[:20], "cut short or damaged gzip"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GatehouseError, match=message):
        read_statistics(tmp_path / name)
