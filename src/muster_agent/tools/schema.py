# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of JSON Schema that tool parameters use: type, required, enum, minimum, maximum, no extra properties."""

from __future__ import annotations

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def problem(schema: dict[str, Any], arguments: dict[str, Any] | None) -> str | None:
    """What is wrong with the arguments of a tool call, in words that a model can act on; None if nothing is."""
    if arguments is None:
        return "the arguments are not a JSON object"
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name in schema.get("required", ()):
        if name not in arguments:
            return f"the parameter {name} is missing"
    for name, value in arguments.items():
        if name not in properties:
            return f"there is no parameter {name[:64]}; known are {', '.join(properties)}"
        wrong = _value_problem(properties[name], value)
        if wrong:
            return f"the parameter {name} {wrong}"
    return None


def _value_problem(rule: dict[str, Any], value: Any) -> str | None:
    wanted = rule["type"]
    # In Python a bool is an int; in JSON it is not.
    if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
        return f"must be of type {wanted}"
    if "enum" in rule and value not in rule["enum"]:
        return f"must be one of {', '.join(map(str, rule['enum']))}"
    if "minimum" in rule and value < rule["minimum"]:
        return f"must be at least {rule['minimum']}"
    if "maximum" in rule and value > rule["maximum"]:
        return f"must be at most {rule['maximum']}"
    return None
