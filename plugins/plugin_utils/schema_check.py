# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds a document against a JSON Schema, and says what is wrong in words that a person can act on.

The schema itself may say more: `x-code` names the finding's code, `errorMessage` (which editors show too) its text, and
`"x-unknown": "error"` beside `additionalProperties` that the program refuses unknown keys rather than ignoring them.

To JSON Schema 2.0 is a whole number. Where a program refuses it, its reader hands it over as a Decimal, which is none.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils import checked_before
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import dotted
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    did_you_mean,
    nearest,
)
from ansible_collections.muster.agents.plugins.plugin_utils.source import Path

# Said when it is needed, not when a plugin is listed; and loaded then, as that takes its time.
MISSING = next((name for name in ("jsonschema", "referencing") if find_spec(name) is None), None)
SCHEMAS = FilePath(__file__).resolve().parent / "schemas"
_LONGEST_SHOWN = 40
# What a Violation's keyword says for several keywords of the schema that mean the same.
_UNKNOWN, _MISSING = "unknown", "missing"


class SchemaUnusable(Exception):
    """The schema itself cannot be used; the message says why."""


@dataclass(frozen=True)
class Violation:
    """What is wrong at a path, by which keyword of the schema. `level` only where it differs from the code's own."""

    code: str
    path: Path
    message: str
    suggestion: str | None = None
    level: str | None = None
    keyword: str = ""


def schema_path(name: str) -> FilePath:
    """Where the collection's own schema of this name is."""
    return SCHEMAS / f"{name}.schema.json"


def violations(document: Any, schema: FilePath, program: str) -> list[Violation]:
    """Everything in the document that breaks the schema. `program` is who reads it, as its messages name it.

    Raises SchemaUnusable.
    """
    if schema.parent != SCHEMAS:  # what it refers to may change, and it not
        return _violations(document, schema, program)
    return checked_before.findings(
        "schema", (schema.name, document), lambda: _violations(document, schema, program)
    )


def _violations(document: Any, schema: FilePath, program: str) -> list[Violation]:
    validator = _validator(schema)
    from referencing.exceptions import Unresolvable

    try:
        errors = list(_leaves(validator.iter_errors(document)))
    except Unresolvable as error:
        raise SchemaUnusable(f"{schema}: refers to {error.ref}, which is not there") from None
    return _merged([one for error in errors for one in _violation(error, program)])


@functools.lru_cache(maxsize=64)
def _validator(path: FilePath) -> Any:
    try:
        import jsonschema
        import referencing
    except ImportError as error:
        raise SchemaUnusable(f"jsonschema cannot be used on the controller: {error}") from None
    schema = _load(path)
    if path.parent != SCHEMAS:  # a test looks at the collection's own
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise SchemaUnusable(f"{path}: is no valid JSON Schema: {error.message}") from None
    # A base that relative references count from; nothing is ever fetched over a network.
    whole = {**_inlined(schema, schema, ()), "$id": path.as_uri()}
    registry = referencing.Registry(retrieve=_retrieve)  # type: ignore[call-arg]  # attrs calls it so
    return jsonschema.Draft202012Validator(whole, registry=registry)


_ANNOTATIONS = frozenset({"$comment", "default", "deprecated", "description", "examples", "title"})


def _inlined(schema: Any, root: Mapping[str, Any], way: tuple[str, ...]) -> Any:
    """The same schema without references into itself: looking one up takes longer than most checks.

    `way`: the references that led here; one that leads back to itself stays.
    """
    if isinstance(schema, list):
        return [_inlined(item, root, way) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    target = _pointed(root, reference) if isinstance(reference, str) and reference not in way else None
    changed = {key: _inlined(value, root, way) for key, value in schema.items()}
    if not isinstance(target, dict):
        return changed
    del changed["$ref"]
    inlined = _inlined(target, root, (*way, str(reference)))
    if changed.keys() <= _ANNOTATIONS:
        return {**inlined, **changed}
    return {**changed, "allOf": [inlined, *changed.get("allOf", ())]}


def _pointed(root: Mapping[str, Any], reference: str) -> Any:
    """What `#/$defs/name` points to; None for any other kind of reference."""
    if not reference.startswith("#/"):
        return None
    found: Any = root
    for part in reference[2:].split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _load(path: FilePath) -> Any:
    try:
        schema = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SchemaUnusable(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise SchemaUnusable(f"{path}: is not JSON") from None
    if not isinstance(schema, dict):
        raise SchemaUnusable(f"{path}: a schema is an object")
    return _as_ecmascript(schema)


# What is escaped or in a class keeps its meaning.
_ESCAPED_OR_END = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\$", re.DOTALL)


def _as_ecmascript(schema: Any) -> Any:
    """`$` in a pattern means the end; to Python it would mean the line's end before it, too."""
    if isinstance(schema, list):
        return [_as_ecmascript(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _as_ecmascript(value) for key, value in schema.items()}
    pattern = changed.get("pattern")
    if isinstance(pattern, str):
        changed["pattern"] = _ESCAPED_OR_END.sub(lambda match: match[1] or r"\Z", pattern)
    return changed


@functools.lru_cache(maxsize=64)
def _retrieve(uri: str) -> Any:
    if not uri.startswith("file://"):
        raise SchemaUnusable(f"the schema refers to {uri}; only files beside it are read")
    path = FilePath(uri.removeprefix("file://"))
    import referencing.jsonschema

    return referencing.jsonschema.DRAFT202012.create_resource({**_load(path), "$id": uri})


def _leaves(errors: Iterable[Any]) -> Iterator[Any]:
    """For `anyOf` and `oneOf` without a message of their own: the branch that fits best, so that one mistake is one finding."""
    for error in errors:
        if error.context and error.validator in ("anyOf", "oneOf") and "errorMessage" not in error.schema:
            branches: dict[Any, list[Any]] = {}
            for inner in error.context:
                branches.setdefault(inner.schema_path[0], []).append(inner)
            best = min(branches.values(), key=_misfit)
            yield from _leaves(best)
        else:
            yield error


def _misfit(errors: list[Any]) -> tuple[bool, int, int]:
    """A branch of another type fits worst; then the one with more wrong, nearer to the top."""
    wrong_type = any(error.validator == "type" and not error.path for error in errors)
    return wrong_type, len(errors), -max(len(error.path) for error in errors)


def _violation(error: Any, program: str) -> Iterator[Violation]:
    path: Path = tuple(error.absolute_path)
    schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator in ("additionalProperties", "unevaluatedProperties"):
        yield from _unknown_keys(error, path, schema, program)
        return
    if error.validator in ("required", "dependentRequired"):
        yield from _missing_keys(error, path, schema)
        return
    if list(error.absolute_schema_path)[-2:-1] == ["propertyNames"]:
        path = (*path, error.instance)  # the key itself is wrong
    code, text = _KEYWORDS.get(error.validator, ("MA208", _by_rule))
    own = schema.get("errorMessage")
    message = f"{_subject(path)}: {own}" if own else f"{_subject(path)} {text(error)}"
    yield Violation(schema.get("x-code", code), path, message, _suggestion(error), keyword=error.validator)


def _subject(path: Path) -> str:
    return dotted(path) or "the document"


def _unknown_keys(error: Any, path: Path, schema: Mapping[str, Any], program: str) -> Iterator[Violation]:
    known = list(schema.get("properties", {}))
    patterns = "|".join(schema.get("patternProperties", {}))
    refused = schema.get("x-unknown") == "error"
    fate = "refuses it" if refused else "ignores it"
    for key in error.instance:
        if key in known or (patterns and re.search(patterns, key)):
            continue
        # A description is shown, but what stands under an unknown key is not known to be no secret.
        message = f"{_subject((*path, key))} is not a key of {program}, which {fate}"
        level = ERROR if refused else None
        if f"{key}_env" in known:
            meant: str | None = f"did you mean {key}_env?"
            if error.instance[key] and _is_secret_name(key):
                said = f"{_subject((*path, key))} is no place for a secret; put it into agent_secrets in the vault, and name"
                said = f"{said} its variable in {key}_env"
                yield Violation("MA301", (*path, key), said, meant, keyword=_UNKNOWN)
                continue
        else:
            near = probably_meant(key, known)
            meant = f"did you mean {near}?" if near else None
        yield Violation("MA201", (*path, key), message, meant, level, keyword=_UNKNOWN)


def _is_secret_name(key: str) -> bool:
    from ansible_collections.muster.agents.plugins.plugin_utils import literal_secrets

    return literal_secrets.is_secret_name(key)


def probably_meant(key: str, known: Iterable[str]) -> str | None:
    """The known key that is nearly this one: also in another case, with other hyphens, or with its letters swapped."""
    plain = {_plain(one): one for one in known}
    word = _plain(key)
    found = nearest(key, plain.values()) if word not in plain else plain[word]
    if found is None:
        swapped = [one for one in plain if one and sorted(one) == sorted(word)]
        near = swapped[0] if swapped else nearest(word, plain)
        found = plain[near] if near else None
    return found


def _plain(key: str) -> str:
    """`apiKeyEnv`, `API-KEY-ENV` and `api_key_env` are one."""
    return re.sub(r"[\W_]", "", key).lower()


_SHORTEST_PART = 4


def _part_of(key: str, known: Iterable[str]) -> str | None:
    """The known key that this one begins or ends, or that it begins with: `prompt` for `system_prompt`."""
    if len(key) < _SHORTEST_PART:
        return None
    for one in known:
        longer = len(one) >= _SHORTEST_PART and key.startswith(one)
        if longer or one.startswith(key) or one.endswith(key):
            return one
    return None


def _missing_keys(error: Any, path: Path, schema: Mapping[str, Any]) -> Iterator[Violation]:
    if error.validator == "required":
        names = [name for name in error.validator_value if name not in error.instance]
        why = ""
    else:
        names, why = [], ""
        for key, needed in error.validator_value.items():
            if key in error.instance:
                absent = [name for name in needed if name not in error.instance]
                names += absent
                why = f", which {dotted((*path, key))} needs" if absent else why
    own = schema.get("errorMessage")
    for name in names:
        where = dotted((*path, name))
        message = f"{where} is missing: {own}" if own else f"{where} is missing{why}"
        yield Violation(schema.get("x-code", "MA202"), (*path, name), message, keyword=_MISSING)


def _by_type(error: Any) -> str:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    allowed = " or ".join(_KINDS.get(name, name) for name in names)
    if wanted == "integer" and isinstance(error.instance, Decimal):
        allowed += ", written without a point"
    return f"is {_kind(error.instance)}; it must be {allowed}"


_KINDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table",
    "array": "a list",
    "null": "null",
}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return f"{value}"
    if isinstance(value, (date, time)):
        return "a date or time"
    return "a string" if isinstance(value, str) else "a table" if isinstance(value, dict) else "a list"


def _by_range(error: Any) -> str:
    schema = error.schema
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema or "exclusiveMaximum" in schema:
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        bounds = [
            f"above {above}" if above is not None else "",
            f"below {below}" if below is not None else "",
        ]
        bounds += [
            f"at least {low}" if low is not None else "",
            f"at most {high}" if high is not None else "",
        ]
        return f"is {error.instance}; it must be {' and '.join(filter(None, bounds))}"
    if low is not None and high is not None:
        return f"is {error.instance}; it must be between {low} and {high}"
    return f"is {error.instance}; it must be at {f'least {low}' if low is not None else f'most {high}'}"


def _by_choice(error: Any) -> str:
    choices = error.validator_value if error.validator == "enum" else [error.validator_value]
    listed = ", ".join(json.dumps(choice) for choice in choices)
    shown = ""
    if _may_be_shown(error):
        shown = f"is {json.dumps(error.instance, ensure_ascii=False)}; it "
    return f"{shown}must be {'one of ' if len(choices) > 1 else ''}{listed}"


def _may_be_shown(error: Any) -> bool:
    """A number, or a short text that is no secret, not even one pasted into the wrong place."""
    value = error.instance
    if isinstance(value, str):
        key = str(next(reversed(error.absolute_path), ""))
        return len(value) <= _LONGEST_SHOWN and not checked_before.secrets({key: value})
    return isinstance(value, (bool, int, float))


def _by_form(error: Any) -> str:
    # The value is not shown: what does not look like a variable's name may be the secret itself.
    return f"does not have the right form: {error.schema.get('description', error.validator_value)}"


def _by_length(error: Any) -> str:
    if not error.instance:
        return "is empty"
    limit, keyword = error.validator_value, error.validator
    unit = "characters" if "Length" in keyword else "elements" if "Items" in keyword else "keys"
    return f"has {len(error.instance)} {unit}; it may have at {'least' if keyword.startswith('min') else 'most'} {limit}"


def _by_rule(error: Any) -> str:
    if error.validator == "uniqueItems":
        return "holds an element twice"
    return "breaks a rule of the schema"


_KEYWORDS = {
    "type": ("MA203", _by_type),
    "minimum": ("MA204", _by_range),
    "maximum": ("MA204", _by_range),
    "exclusiveMinimum": ("MA204", _by_range),
    "exclusiveMaximum": ("MA204", _by_range),
    "enum": ("MA205", _by_choice),
    "const": ("MA205", _by_choice),
    "pattern": ("MA206", _by_form),
    "format": ("MA206", _by_form),
    "minLength": ("MA207", _by_length),
    "maxLength": ("MA207", _by_length),
    "minItems": ("MA207", _by_length),
    "maxItems": ("MA207", _by_length),
    "minProperties": ("MA207", _by_length),
    "maxProperties": ("MA207", _by_length),
}


def _suggestion(error: Any) -> str | None:
    if error.validator not in ("enum", "const") or not isinstance(error.instance, str):
        return None
    allowed = error.validator_value if error.validator == "enum" else [error.validator_value]
    choices = [choice for choice in allowed if isinstance(choice, str)]
    same = [choice for choice in choices if choice.lower() == error.instance.lower()]
    return f"did you mean {same[0]}?" if same else did_you_mean(error.instance, choices)


def _merged(found: list[Violation]) -> list[Violation]:
    """One finding for one mistake: of a value of the wrong type nothing else is said, and a misspelt required key is
    not an unknown and a missing key at once.
    """
    wrong_type = {one.path for one in found if one.keyword == "type"}
    result = [one for one in dict.fromkeys(found) if one.keyword == "type" or one.path not in wrong_type]
    unknown = [one for one in result if one.keyword == _UNKNOWN]
    missing = {one.path: one for one in result if one.keyword == _MISSING}
    for one in unknown:
        siblings = {str(path[-1]): path for path in missing if path[:-1] == one.path[:-1]}
        key = str(one.path[-1])
        meant = f"{key}_env" if f"{key}_env" in siblings else None
        meant = meant or probably_meant(key, siblings) or _part_of(key, siblings)
        if meant is None:
            continue
        result.remove(missing.pop(siblings[meant]))
        message = f"{one.message}; {dotted(siblings[meant])} is missing"
        suggestion = f"did you mean {meant}?"
        result[result.index(one)] = Violation(one.code, one.path, message, suggestion, ERROR, _UNKNOWN)
    return result
