"""dbt in this process: one parse of the project serves every home.

Nothing that dbt parses names a home: GATEHOUSE_LAKE and GATEHOUSE_BUILD are looked up when a model
runs, GATEHOUSE_DATABASE when it connects. Parsing takes as long as half of a small build, so its
result is kept, in memory and in a folder of the user's cache.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gatehouse.flows.steps.quick_dbt import make_quick
from gatehouse.warehouse import cache, environment
from gatehouse.warehouse.paths import DBT_PROJECT

BASE, LAYERS, PARTIALS = "GATEHOUSE_BASE", "GATEHOUSE_LAYERS", "GATEHOUSE_PARTIALS"
"""The variables of a build on many workers: a database that others' views read, the layers of a
share, and the folder of what is made of them, as `dbt_project/macros/layered.sql` says."""

PARSED_FILES = (".md", ".sql", ".yml")
WRITTEN_BY_DBT = ("target", "logs", "dbt_packages")
"""Folders that dbt makes in its project when a person runs it there."""

PARSERS = ("dbt-core", "dbt-adapters", "dbt-common", "dbt-duckdb")
KIND = "dbt"
"""What the user's cache calls a parse."""

AHEAD = """
import sys
from pathlib import Path
from gatehouse.flows import process
process.end_with_parent()
process.collect_rarely()
from gatehouse.flows.steps.dbt_runs import run_dbt
run_dbt(["parse", "--no-write-json"], *map(Path, sys.argv[1:]))
"""
"""Parses the project into the cache, and ends when the process that started it does."""

_parsed: dict[str, bytes] = {}
_ahead: list[subprocess.Popen[bytes]] = []


def attach_base(connection: Any, base: str) -> None:
    """Let a DuckDB connection read the database that BASE names, as `base`."""
    connection.execute("attach '{}' as base (read_only)".format(base.replace("'", "''")))


def run_dbt(command: Sequence[str], target: Path, project: Path = DBT_PROJECT) -> Any:
    """Run one dbt command quietly, close the database, and return dbt's own result object.

    Args:
        command: the command and its options; the environment names the home.
        target: folder for what dbt writes.
        project: folder of the dbt project; the profile is always Gatehouse's own.
    """
    places = {
        "--project-dir": project,
        "--profiles-dir": DBT_PROJECT,
        "--target-path": target,
        "--log-path": target / "logs",
    }
    options = [str(part) for pair in places.items() for part in pair]
    finish_parsing()
    name = _version(project)
    content = _parsed.get(name) or cache.read(KIND, name)
    if content is None:
        # a partial parse might keep what an older version left
        parse = _invoke(["parse", "--no-partial-parse", "--no-write-json", *options])
        if not parse.success:
            return parse
        content = _serialized(parse.result)
        cache.write(KIND, name, content)
    _parsed[name] = content
    # a manifest of its own for each command: dbt compiles into it
    return _invoke([*command, *options], _deserialized(content))


def parse_ahead(target: Path, project: Path = DBT_PROJECT) -> None:
    """Let a process of its own parse the project, unless its parse is kept; `run_dbt` waits for it.

    Args:
        target: as for `run_dbt`, as is the project.
        project: folder of the dbt project.
    """
    if cache.read(KIND, _version(project)) is None:
        words = [sys.executable, "-P", "-c", AHEAD, str(target), str(project)]
        silent = subprocess.DEVNULL
        parser = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=silent,
            stderr=silent,
            env=environment.of_a_process(),
        )
        _ahead.append(parser)


def finish_parsing() -> None:
    """Return when no process parses ahead any more."""
    while _ahead:
        _ahead.pop().wait()


def project_files(project: Path = DBT_PROJECT) -> list[Path]:
    """Return the files that dbt parses, in order, without what dbt itself has written there."""
    return [
        path
        for path in sorted(project.rglob("*"))
        if path.suffix in PARSED_FILES
        and path.relative_to(project).parts[0] not in WRITTEN_BY_DBT
        and path.is_file()
    ]


def _invoke(arguments: list[str], manifest: Any = None) -> Any:
    # some are read when dbt is imported
    with environment.chosen(environment.DBT):
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        make_quick()
        try:
            return dbtRunner(manifest).invoke(["--quiet", "--log-level", "none", *arguments])
        finally:
            # the profile keeps it open; dbt itself would close it when the process ends
            if opened := DuckDBConnectionManager._ENV:
                opened.close()
            DuckDBConnectionManager.close_all_connections()


def _serialized(manifest: Any) -> bytes:
    from dbt.parser.manifest import extended_mashumaro_encoder

    content: bytes = manifest.to_msgpack(extended_mashumaro_encoder)
    return content


def _deserialized(content: bytes) -> Any:
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    return Manifest.from_msgpack(content, decoder=extended_mashumuro_decoder)


def _version(project: Path) -> str:
    """Return a hash of everything that the result of parsing depends on."""
    # dbt names the database after its file
    database = Path(os.environ["GATEHOUSE_DATABASE"]).stem
    parsers = [version(package) for package in PARSERS]
    digest = hashlib.sha256(
        repr((parsers, sys.version, sys.prefix, str(project), database)).encode()
    )
    for path in [DBT_PROJECT / "profiles.yml", *project_files(project)]:
        content = path.read_bytes()
        digest.update(f"\n{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()
