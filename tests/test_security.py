"""What no source file may do, as run strings or pickles as code, and what docs/security.md says."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_architecture import CHECKOUT, SOURCES, imported

PAGE = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_METHODS = {
    "yaml": {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"},
    "torch": {"load", "save"},
    "pd": {"read_pickle", "eval"},
    "tempfile": {"mktemp"},
    "os": {"system", "popen"},
    "marshal": {"load", "loads"},
}
OF_PLAIN_CONTENT = {"reports/exports/torch_files.py": ["torch.save(content, target)"]}
"""The one call that pickles: what it writes is plain, as tests/reports/exports/ shows."""

PICKLING = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}


def unsafe(source: str) -> list[str]:
    """Return the unsafe calls of a source text, as it writes them."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and _is_unsafe(node)
    ]


def _is_unsafe(call: ast.Call) -> bool:
    for keyword in call.keywords:
        set_to = getattr(keyword.value, "value", True)
        if keyword.arg in ("shell", "allow_pickle") and set_to is not False:
            return True
    if isinstance(call.func, ast.Name):
        return call.func.id in UNSAFE_CALLS
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in ("to_pickle", "read_pickle"):
            return True
        module = ast.unparse(call.func.value)
        if (module, call.func.attr) == ("torch", "load"):
            safely = [word.value for word in call.keywords if word.arg == "weights_only"]
            return [getattr(value, "value", False) for value in safely] != [True]
        return call.func.attr in UNSAFE_METHODS.get(module, set())
    return False


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "yaml.load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=chosen)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "tempfile.mktemp()",
        "frame.to_pickle(path)",
    ],
)
def test_an_unsafe_call_is_found(source):
    assert unsafe(source) == [source]


def test_a_safe_call_is_left_alone():
    assert (
        unsafe("yaml.safe_load(text); model.eval(); re.compile('a'); run('ls', shell=False)") == []
        and unsafe("torch.load(path, weights_only=True)") == []
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_nothing_runs_text_or_pickles_as_code(path: Path):
    allowed = OF_PLAIN_CONTENT.get(str(path.relative_to(CHECKOUT)), [])
    assert unsafe(path.read_text(encoding="utf-8")) == allowed
    assert not imported(path) & PICKLING


def test_every_promise_is_held_by_a_test_that_is_there():
    promises = [line for line in PAGE.splitlines() if line.startswith("| ")]
    promises = [line for line in promises if line != "| promise | held by |"]
    assert len(promises) > 20
    for promise in promises:
        held_by = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", promise.rpartition(" | ")[2])
        assert held_by, promise
        for path, name in held_by:
            source = (CHECKOUT / path).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", source, re.M), (path, name)
