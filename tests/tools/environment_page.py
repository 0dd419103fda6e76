"""Writes docs/environment.md from the lists of `warehouse/environment.py`."""

from pathlib import Path

from gatehouse.warehouse.environment import LET_IN, SET_ASIDE, Variables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environment.md"
START = "# The environment\n\n"
LET_IN_TEXT = """Gatehouse starts three processes: Prefect's own server for a `gatehouse run`, one
that draws some of its figures, and one that parses the dbt project. They begin with these variables
of the environment and no others:

"""
SET_ASIDE_TEXT = """
Everything else of a command happens in its own process, which has the whole environment: that of
PyTorch, CUDA, and the hub's client (`HF_*`, proxies and certificates for downloads), too. So do the
workers of `--workers`, which load the model in its place; `CUDA_VISIBLE_DEVICES` names a GPU for
each of them, and `OMP_NUM_THREADS` is its share of the cores unless it is set. These variables are
set aside, and are back afterwards, in a notebook as well:

"""
BUCKET = (
    Variables(
        ("GATEHOUSE_LAKE",),
        "the address of the lake, as `--lake` does; a folder in it is for `dbt` by hand alone",
    ),
    Variables(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        "credentials; else `AWS_PROFILE` names some of `~/.aws`, else the machine's role does",
    ),
    Variables(("AWS_REGION", "AWS_DEFAULT_REGION"), "where the bucket is"),
    Variables(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"), "another server than Amazon's"),
    Variables(
        ("AZURE_STORAGE_*",),
        "the account of `abfs://CONTAINER/PREFIX`: `AZURE_STORAGE_CONNECTION_STRING`, or "
        "`…_ACCOUNT_NAME` with `…_ACCOUNT_KEY` or `…_SAS_TOKEN`",
    ),
    Variables(
        ("TMPDIR",), "where a shard is written before its upload, and read when it is verified"
    ),
)
BUCKET_TEXT = """
A lake in a bucket ([docs/scaling.md](scaling.md)) is reached with what its client finds in the
environment, which Gatehouse neither shows nor keeps:

"""
END = """
`gatehouse up` starts two more. Its server begins with the variables of the first table; its
worker, whose flow runs capture, with the whole environment but `PREFECT_*`.

`PREFECT_API_URL` is the switch. Without it, `gatehouse run` has a server, settings and a database
of its own in the home, and no file or variable of the user's changes that. With it, as in
deployments and workers, Gatehouse only fills in what the user's settings leave open: `SILENT` in
`flows/prefect_settings.py`.

Where standard output is not in UTF-8, letters that it lacks are printed as escapes. JSON then is in
ASCII and means the same; CSV is in UTF-8 unless it goes to a terminal. Files are always in UTF-8.
"""


def table(rows: tuple[Variables, ...], why: str) -> str:
    """Return a Markdown table of variables."""
    lines = [f"| variables | {why} |", "|---|---|"]
    lines += [f"| {', '.join(f'`{name}`' for name in row.names)} | {row.why} |" for row in rows]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page."""
    let_in, aside = table(LET_IN, "why"), table(SET_ASIDE, "for how long, and why")
    bucket = BUCKET_TEXT + table(BUCKET, "what they say")
    return START + LET_IN_TEXT + let_in + SET_ASIDE_TEXT + aside + bucket + END


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
