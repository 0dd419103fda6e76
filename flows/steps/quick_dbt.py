"""dbt without work that nobody needs: on a small build, a third of what it takes.

What dbt returns, raises and writes stays the same, as does what its loggers and callbacks hear. A
version of dbt that is made in another way is left as it is.
"""

from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

_is_quick = False


def make_quick() -> None:
    """Have dbt, in this process, do less for each of its steps; once is enough."""
    global _is_quick
    if _is_quick:
        return
    _is_quick = True
    for change in (
        _make_messages_late,
        _fire_to_listeners,
        _find_macros_at_once,
        _keep_type_testers,
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


def _find_macros_at_once() -> None:
    """Search the packages of macros once for a node, not for each of six hundred names."""
    from dbt.context.macros import MacroNamespace

    make = MacroNamespace.__init__

    def merged(namespace: Any, *packages: Any, **named: Any) -> None:
        make(namespace, *packages, **named)
        namespace.merged = {}
        # the first that has a name wins
        for package in reversed(list(namespace._search_order())):
            namespace.merged.update(package)

    names: Any = MacroNamespace
    names.__init__ = merged
    names.__getitem__ = lambda namespace, name: namespace.merged[name]
    names.keys = lambda namespace: namespace.merged.keys()


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
