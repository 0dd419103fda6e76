"""dbt's templates without work that nobody needs: what a node may call, how text is rendered.

Each function changes dbt in this process; `make_quick` calls them.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Any


class Late(MutableMapping[str, Any]):
    """Values that are made when they are first asked for, unless others take their place.

    A unit test overrides dbt's own macros so.

    Args:
        seeds: what each is made from, by name.
        make: makes one.
    """

    def __init__(self, seeds: Mapping[str, Any], make: Callable[[Any], Any]) -> None:
        self._seeds, self._make = seeds, make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(self._seeds[name])
        return self._made[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._seeds = {**self._seeds, name: None}
        self._made[name] = value

    def __delitem__(self, name: str) -> None:
        self._seeds = {each: seed for each, seed in self._seeds.items() if each != name}
        self._made.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._seeds

    def __iter__(self) -> Iterator[str]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)


class Context(dict[str, Any]):
    """What a node's templates may name: what is not in here is looked for in `behind`."""

    behind: Mapping[str, Any] = {}

    def __missing__(self, name: str) -> Any:
        found = self[name] = self.behind[name]
        return found

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.behind

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default where there is none."""
        try:
            return self[name]
        except KeyError:
            return default


def bind_macros_when_named() -> None:
    """Bind a macro to a node's context when it is named there; dbt binds all six hundred.

    A manifest has no two macros of one name in a package, which dbt looks for once more here.
    """
    from dbt.clients.jinja import MacroGenerator
    from dbt.context.configured import ConfiguredContext
    from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
    from dbt.context.manifest import ManifestContext

    def build_namespace(builder: Any, macros: Any, context: Any) -> MacroNamespace:
        def bind(macro: Any) -> MacroGenerator:
            return MacroGenerator(macro, context, builder.node, builder.thread_ctx)

        bound: dict[str, Any] = {package: Late(named, bind) for package, named in macros.items()}
        # the packages that are first in the list win
        own = [bound.pop(name) for name in builder.internal_package_names_order if name in bound]
        of_node = bound.get(builder.search_package, {})
        is_root = builder.root_package == builder.search_package
        of_project = {} if is_root else bound.get(builder.root_package, {})
        of_dbt: Any = ChainMap(*own)
        return MacroNamespace(of_project, of_node, of_dbt, bound)

    build_own = ManifestContext._build_namespace

    def build_behind(context: Any) -> Any:
        # macros are bound to this object
        context._ctx = Context()
        return build_own(context)

    def as_dict(context: Any) -> Any:
        if not isinstance(context._ctx, Context):
            return to_dict(context)
        content: Any = ConfiguredContext.to_dict(context)
        # the first that has a name wins, and a macro over all else
        content.behind = ChainMap(*context.namespace._search_order())
        for name in [each for each in content if each in content.behind]:
            content[name] = content.behind[name]
        return content

    to_dict = ManifestContext.to_dict
    contexts: Any = ManifestContext
    contexts._build_namespace = build_behind
    contexts.to_dict = as_dict
    builders: Any = MacroNamespaceBuilder
    builders.build_namespace = build_namespace


def keep_environments() -> None:
    """Have templates share what Jinja needs for all of them, unless it tells of their node."""
    from dbt_common.clients import jinja

    make = jinja.get_environment
    made = lru_cache(maxsize=None)(lambda native: make(native=native))

    def get_environment(
        node: Any = None, capture_macros: bool = False, native: bool = False
    ) -> Any:
        return make(node, capture_macros, native) if capture_macros else made(native)

    jinja.get_environment = get_environment


def compile_a_template_once() -> None:
    """Compile each text to Python once in this process: many nodes have the same ones."""
    from dbt_common.clients import jinja

    environments: Any = jinja.MacroFuzzEnvironment
    compile_text = environments.compile
    compiled: dict[tuple[type, str], Any] = {}

    def compile_once(environment: Any, source: Any, *named: Any, **options: Any) -> Any:
        if named or options or jinja.MACRO_DEBUGGING or not isinstance(source, str):
            return compile_text(environment, source, *named, **options)
        key = type(environment), source
        if key not in compiled:
            compiled[key] = compile_text(environment, source)
        return compiled[key]

    environments.compile = compile_once


def look_through_the_context() -> None:
    """Render a test's arguments as dbt renders all else: without a copy of the whole context."""
    from dbt_common.clients import jinja

    template_class: Any = jinja.NativeSandboxTemplate
    template_class.new_context = jinja.MacroFuzzTemplate.new_context


def keep_the_modules() -> None:
    """Share the modules that SQL may call among all nodes: each has the same."""
    from dbt.context import base

    base.get_context_modules = lru_cache(maxsize=None)(base.get_context_modules)


def keep_the_arguments() -> None:
    """Sort out what dbt was called with once for a command, not for each node."""
    from dbt import flags
    from dbt.context import providers

    sort_out = providers.args_to_dict
    # held, so that no other object takes the place
    last: list[Any] = [None, None, None]

    def args_to_dict(arguments: Any) -> Any:
        given, known, sorted_out = last
        if given is not arguments or known is not flags.get_flags():
            sorted_out = sort_out(arguments)
            last[:] = arguments, flags.get_flags(), sorted_out
        return dict(sorted_out)

    providers.args_to_dict = args_to_dict


def wrap_exceptions_when_named() -> None:
    """Let what a template may raise know its node when it is named; dbt wraps all twenty."""
    from dbt.context import exceptions_jinja, providers

    def wrapped_exports(model: Any) -> Late:
        return Late(exceptions_jinja.CONTEXT_EXPORTS, exceptions_jinja.wrapper(model))

    changed: Any = providers
    changed.wrapped_exports = wrapped_exports


def keep_a_macro() -> None:
    """Make a macro once for each context that names it, not for each of its calls."""
    from dbt_common.clients import jinja

    generators: Any = jinja.CallableMacroGenerator
    make = generators.get_macro

    def get_macro(generator: Any) -> Any:
        made = vars(generator)
        if "made" not in made:
            made["made"] = make(generator)
        return made["made"]

    generators.get_macro = get_macro


CHANGES = (
    bind_macros_when_named,
    wrap_exceptions_when_named,
    keep_a_macro,
    keep_environments,
    compile_a_template_once,
    look_through_the_context,
    keep_the_modules,
    keep_the_arguments,
)
