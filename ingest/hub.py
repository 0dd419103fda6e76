"""Corpora on the Hugging Face hub, streamed: only what is read is downloaded."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from gatehouse.ingest.fields import Fields
from gatehouse.ingest.rows import Broken, Document, document_of, known_columns
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.hub.causes import kinds_of, refusal, unkept, why_unanswered

SPLIT = "train"
CONNECT_SECONDS = 10.0
LISTED_CONFIGURATIONS = 20

HUB_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<configuration>[\w.-]+))?")


@dataclass(frozen=True)
class HubDataset:
    """A hub dataset: `owner/name`, and its configuration if it has several."""

    repository: str
    configuration: str | None = None


HUB_DATASETS = {
    "c4": HubDataset("allenai/c4", "en"),
    "wikitext": HubDataset("Salesforce/wikitext", "wikitext-103-raw-v1"),
}
"""Names that Gatehouse knows."""


def hub_dataset(name: str) -> HubDataset | None:
    """Return the hub dataset for a known name, `owner/name` or `owner/name:configuration`."""
    if name in HUB_DATASETS:
        return HUB_DATASETS[name]
    match = HUB_NAME.fullmatch(name)
    return HubDataset(match["repository"], match["configuration"]) if match else None


def read_hub(
    name: str, dataset: HubDataset, fields: Fields
) -> tuple[Iterator[Document | Broken], str | None]:
    """Return the documents of the train split, streamed, and the commit that they come from.

    The commit is None in offline mode (HF_HUB_OFFLINE=1), where only the local cache is read.

    Args:
        name: the dataset as the user named it; its documents' domain, and part of their names.
        dataset: where it is.
        fields: the columns that were asked for.

    Raises:
        GatehouseError: no network, no such dataset or configuration, terms not accepted, or a
            column is missing that is needed; the first two can also happen while reading.
    """
    # before the import, which reads it: nobody asked for usage counts to be sent
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets  # here, because it takes a second and only hub datasets need it

    datasets.disable_progress_bars()
    try:
        revision = _commit(dataset.repository)
        rows = datasets.load_dataset(
            dataset.repository,
            dataset.configuration,
            split=SPLIT,
            streaming=True,
            revision=revision,
        )
    except Exception as error:
        _explain(name, error)
    columns = rows.column_names
    if columns is not None:  # None if they are known only after reading
        rows = rows.select_columns(known_columns(name, columns, fields))
    return _documents(name, rows, fields), revision


def _commit(repository: str) -> str | None:
    """Ask the hub for the latest commit: one request, which fails at once without a network."""
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return huggingface_hub.HfApi().dataset_info(repository, timeout=CONNECT_SECONDS).sha
    except OfflineModeIsEnabled:
        return None


def _documents(name: str, rows: Any, fields: Fields) -> Iterator[Document | Broken]:
    try:
        for index, row in enumerate(rows):
            place = f"{name} row {index}", f"{name}:{index}"
            yield document_of(row, *place, name, fields)
    except GatehouseError:
        raise
    except Exception as error:
        _explain(name, error)


def _explain(name: str, error: Exception) -> NoReturn:
    """Raise what the user can do about an error of `datasets` or `huggingface_hub`."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    elsewhere = "" if name in HUB_DATASETS else " (it is not a file or folder here)"
    if "RepositoryNotFoundError" in (kinds := kinds_of(error)) and "GatedRepoError" not in kinds:
        message = (
            f"{name} is neither a file or folder here nor a dataset on the hub: check the name, "
            "or set HF_TOKEN if it is private"
        )
    elif why := why_unanswered(error):
        message = (
            f"cannot read {name} from the hub{elsewhere}: {why}; put that right, use the dataset "
            "pydoc, which comes with every Python, or name a local file or folder"
        )
    elif refused := refusal(name, error):
        message = refused
    elif full := unkept(error):
        message = f"cannot read {name} from the hub: {full}"
    elif isinstance(error, ValueError) and "onfig" in first_line:
        message = f"{name}: {_configurations(error)}"
    else:
        message = f"cannot read {name} from the hub ({first_line}): download it and name its folder"
    raise GatehouseError(message) from error


def _configurations(error: ValueError) -> str:
    names = dict.fromkeys(re.findall(r"'([\w.-]+)'", str(error).partition("vailable")[2]))
    listed = ", ".join(list(names)[:LISTED_CONFIGURATIONS])
    return f"name one of its configurations as owner/name:configuration; it has {listed}"
