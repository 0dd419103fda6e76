"""dbt's messages on what it does, made only where somebody hears them.

Of each of its steps, dbt makes two protobuf messages from dictionaries, and hands the second to its
loggers. A quiet run has none, and five thousand steps of a small build took a fifth of its time.
"""

from functools import cached_property
from typing import Any


def make_when_heard() -> None:
    """Have dbt, in this process, make a message when something reads it, and not before.

    Warnings are fired as ever, which dbt may turn into errors, and so is whatever a logger or a
    callback would hear.
    """
    from dbt_common.events.base_types import BaseEvent

    if isinstance(vars(BaseEvent).get("pb_msg"), cached_property):
        return
    _read_late(BaseEvent)
    _fire_to_listeners()


def _read_late(event_class: Any) -> None:
    """Let an event keep what it is given, until its message is read."""
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
