"""dbt without work that nobody needs: on a small build, almost half of what it takes.

What dbt returns, raises and writes stays the same, as does what its loggers and callbacks hear. A
version of dbt that is made in another way is left as it is.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from gatehouse.flows.steps.quick_dbt import templates

_is_quick = False


def import_quickly() -> None:
    """Have dbt's classes made without how they become text, until one of them first does.

    Each of five hundred writes Python for that when dbt is imported: call this before.
    """
    with suppress(ImportError, AttributeError):
        from mashumaro.config import BaseConfig

        BaseConfig.lazy_compilation = True


def make_quick() -> None:
    """Have dbt, in this process, do less for each of its steps; once is enough."""
    global _is_quick
    if _is_quick:
        return
    _is_quick = True
    for change in (
        _make_messages_late,
        _fire_to_listeners,
        *templates.CHANGES,
        _keep_type_testers,
        _keep_the_empty_table,
        _match_by_name_first,
        _summarise_by_type,
        _encode_at_once,
    ):
        with suppress(ImportError, AttributeError):
            change()


def _make_messages_late() -> None:
    """Let an event keep what it is given until its protobuf message is read.

    dbt makes two messages of each of its steps, of which a small build has five thousand.
    """
    from dbt_common.events.base_types import BaseEvent

    event_class: Any = BaseEvent
    fill = event_class.__init__

    def keep(event: Any, *arguments: Any, **content: Any) -> None:
        vars(event)["given"] = arguments, content

    def message(event: Any) -> Any:
        arguments, content = vars(event)["given"]
        fill(event, *arguments, **content)
        return vars(event)["pb_msg"]

    event_class.__init__ = keep
    event_class.pb_msg = cached_property(message)
    event_class.pb_msg.__set_name__(event_class, "pb_msg")


def _fire_to_listeners() -> None:
    """Fire an event if it is a warning, which may become an error, or if somebody listens."""
    from dbt.tracking import track_behavior_change_warn
    from dbt_common.events.base_types import EventLevel
    from dbt_common.events.event_manager import EventManager

    warnings = {EventLevel.WARN, EventLevel.ERROR}
    # dbt's own, which heeds warnings only
    own = {track_behavior_change_warn}
    fire = EventManager.fire_event

    def fire_event(
        manager: Any,
        e: Any,
        level: Any = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        is_heard = manager.loggers or set(manager.callbacks) - own
        if is_heard or force_warn_or_error_handling or (level or e.level_tag()) in warnings:
            fire(manager, e, level, node, force_warn_or_error_handling)

    EventManager.fire_event = fire_event  # type: ignore[method-assign, assignment]


def _keep_type_testers() -> None:
    """Make what finds the types of a query's columns once for each list of text columns.

    It holds calendars of all languages' names, for texts that might be dates.
    """
    from dbt_common.clients import agate_helper

    made = lru_cache(maxsize=None)(agate_helper.build_type_tester)

    def build_type_tester(text_columns: Any, string_null_values: Any = ("null", "")) -> Any:
        known = string_null_values if string_null_values is None else tuple(string_null_values)
        return made(tuple(text_columns), known)

    agate_helper.build_type_tester = build_type_tester


def _keep_the_empty_table() -> None:
    """Share the one table without rows and columns; no table can be changed."""
    from dbt_common.clients import agate_helper

    agate_helper.empty_table = lru_cache(maxsize=None)(agate_helper.empty_table)


def _match_by_name_first() -> None:
    """Compare a relation that is looked for with those of its name, not with all of them."""
    from dbt.adapters.base.impl import BaseAdapter

    adapters: Any = BaseAdapter
    match = adapters._make_match

    def of_name(relation: Any, name: str) -> bool:
        quote = relation.quote_character
        return str(relation.identifier).lower().strip(quote) == name.lower().strip(quote)

    def make_match(
        adapter: Any, relations: Any, database: Any, schema: Any, identifier: Any
    ) -> Any:
        alike = [each for each in relations if identifier is None or of_name(each, identifier)]
        return match(adapter, alike, database, schema, identifier)

    adapters._make_match = make_match


def _summarise_by_type() -> None:
    """Ask a node for its type, which a summary of the graph says, not for all that it holds."""
    from dbt.compilation import Linker

    linkers: Any = Linker
    summarise = linkers.get_graph_summary

    @dataclass
    class OfType:
        resource_type: str

        def to_dict(self, **options: Any) -> dict[str, str]:
            return {"resource_type": self.resource_type}

    @dataclass
    class Types:
        manifest: Any

        def expect(self, name: str) -> OfType:
            return OfType(str(self.manifest.expect(name).resource_type))

    linkers.get_graph_summary = lambda linker, manifest: summarise(linker, Types(manifest))


def _encode_at_once() -> None:
    """Write JSON in one piece, for which Python has an encoder in C; dbt writes it bit by bit."""
    from dbt_common.clients import system

    writer: Any = system

    class AtOnce:
        load = staticmethod(json.load)

        @staticmethod
        def dump(content: Any, file: Any, **options: Any) -> None:
            file.write(json.dumps(content, **options))

    writer.json = AtOnce
