"""dbt's templates without work that nobody needs: what a node may call, how text is rendered.

Each function changes dbt in this process; `make_quick` calls them.
"""

from functools import lru_cache
from typing import Any


def bind_macros_at_once() -> None:
    """Give each of a node's six hundred macros its context by assignments, and no more.

    A manifest has no two macros of one name in a package, which dbt looks for once more here.
    """
    from dbt.clients.jinja import MacroGenerator
    from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder

    def bind(
        generator: Any, macro: Any, context: Any = None, node: Any = None, stack: Any = None
    ) -> None:
        generator.context = context
        generator.macro = macro
        generator.node = node
        generator.stack = stack

    def build_namespace(builder: Any, macros: Any, context: Any) -> MacroNamespace:
        node, stack = builder.node, builder.thread_ctx
        bound = {
            package: {
                name: MacroGenerator(macro, context, node, stack) for name, macro in named.items()
            }
            for package, named in macros.items()
        }
        own = {
            package: bound.pop(package)
            for package in builder.internal_package_names_order
            if package in bound
        }
        # the packages that are first in the list win
        of_dbt = {name: each for named in reversed(own.values()) for name, each in named.items()}
        of_node = bound.get(builder.search_package, {})
        is_root = builder.root_package == builder.search_package
        of_project = {} if is_root else bound.get(builder.root_package, {})
        return MacroNamespace(of_project, of_node, of_dbt, bound)

    generator_class: Any = MacroGenerator
    generator_class.__init__ = bind
    builder_class: Any = MacroNamespaceBuilder
    builder_class.build_namespace = build_namespace


def find_macros_at_once() -> None:
    """Search the packages of macros once for a node, not for each of six hundred names."""
    from dbt.context.configured import ConfiguredContext
    from dbt.context.macros import MacroNamespace
    from dbt.context.manifest import ManifestContext

    make = MacroNamespace.__init__
    to_dict = ManifestContext.to_dict

    def merged(namespace: Any, *packages: Any, **named: Any) -> None:
        make(namespace, *packages, **named)
        namespace.merged = {}
        # the first that has a name wins
        for package in reversed(list(namespace._search_order())):
            namespace.merged.update(package)

    def as_dict(context: Any) -> Any:
        namespace = context.namespace
        if not hasattr(namespace, "merged"):
            return to_dict(context)
        content = ConfiguredContext.to_dict(context)
        content.update(namespace.merged)
        return content

    names: Any = MacroNamespace
    names.__init__ = merged
    names.__getitem__ = lambda namespace, name: namespace.merged[name]
    names.keys = lambda namespace: namespace.merged.keys()
    ManifestContext.to_dict = as_dict  # type: ignore[method-assign]


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


CHANGES = (
    bind_macros_at_once,
    find_macros_at_once,
    keep_environments,
    compile_a_template_once,
    look_through_the_context,
    keep_the_modules,
    keep_the_arguments,
)
