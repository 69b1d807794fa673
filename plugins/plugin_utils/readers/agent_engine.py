# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The config folders of Agent Engine: workflow.yaml, agents.yaml, tools.yaml and what else the engine reads.

What the engine does with a file or a key is taken from its source, https://github.com/nialldevlin/agent_engine, version
0.0.1, where that differs from its documents. Error: it does not start. Warning: it starts, and something does not work.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import posixpath
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.envfile import NAME
from ansible_collections.muster.agents.plugins.plugin_utils import checked_before
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import ConfigFile, dotted, get
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    HINT,
    WARNING,
    Code,
    Diagnostic,
    did_you_mean,
    nearest,
)
from ansible_collections.muster.agents.plugins.plugin_utils.reading import Format, Reading
from ansible_collections.muster.agents.plugins.plugin_utils.source import Path
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Place, SecretReference, Spec, Volume

WORKFLOW, AGENTS, TOOLS = "workflow.yaml", "agents.yaml", "tools.yaml"
MEMORY, PLUGINS, PROFILES = "memory.yaml", "plugins.yaml", "cli_profiles.yaml"
CREDENTIALS, POLICY, EVALUATIONS = "provider_credentials.yaml", "policy.yaml", "evaluations.yaml"
# As the deployment document calls the file that the engine reads as policy.yaml.
POLICIES = "policies.yaml"
REQUIRED = (WORKFLOW, AGENTS, TOOLS)
# Every other file with its schema.
OPTIONAL = {
    MEMORY: "agent-engine-memory",
    PLUGINS: "agent-engine-plugins",
    "scheduler.yaml": "agent-engine-scheduler",
    PROFILES: "agent-engine-cli_profiles",
    CREDENTIALS: "agent-engine-provider_credentials",
    POLICY: "agent-engine-policies",
    "metrics.yaml": "agent-engine-metrics",
    EVALUATIONS: "agent-engine-evaluations",
}
# Files of its documents that it never opens, and what to do instead.
_NEVER_READ = {
    POLICIES: "the engine reads policy.yaml: what this file denies stays allowed",
    "providers.yaml": "the engine reads provider_credentials.yaml",
    "persistent_memory.yaml": "the engine reads memory.yaml",
    "artifacts.yaml": "the engine does not read it",
    "deployment.yaml": "the engine does not read it",
    "engine_metadata.yaml": "the engine does not read it",
    "execution.yaml": "the engine does not read it",
    "inspector.yaml": "the engine does not read it",
}
# Lists whose elements the engine keeps by id: of two, only one counts.
_LISTS: tuple[tuple[str, Path], ...] = (
    (AGENTS, ("agents",)),
    (TOOLS, ("tools",)),
    (MEMORY, ("memory", "context_profiles")),
    (PLUGINS, ("plugins",)),
    (CREDENTIALS, ("provider_credentials",)),
    (PROFILES, ("profiles",)),
)
_PROSE = frozenset(
    {
        "description",
        "expected",
        "help",
        "input",
        "instruction",
        "instructions",
        "message",
        "prompt",
        "prompt_template",
        "reason",
        "system_prompt",
        "template",
        "user_prompt",
    }
)
# The variables that the engine's own clients read, whatever provider_credentials.yaml names.
_KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
# The engine checks payloads against these only.
_SCHEMAS = frozenset(
    {
        "agent_definition",
        "agent_manifest",
        "context_fingerprint",
        "context_item",
        "context_package",
        "context_profile",
        "context_profile_source",
        "context_request",
        "edge",
        "engine_error",
        "event",
        "execution_input",
        "execution_output",
        "failure_signature",
        "gather_context_input",
        "gather_context_output",
        "memory_config",
        "node",
        "override_spec",
        "task",
        "task_spec",
        "tool_call_record",
        "tool_definition",
        "tool_plan",
        "tool_step",
        "workflow_graph",
    }
)
# The modules below these packages, with what can be named in them.
_OWN_PACKAGES = ("agent_engine.tools", "agent_engine.plugins")
_OWN_MODULES: Mapping[str, frozenset[str]] = {
    "agent_engine.tools": frozenset(),
    "agent_engine.tools.builtin": frozenset(),
    "agent_engine.tools.filesystem": frozenset({"list_files", "read_file", "write_file"}),
    "agent_engine.plugins": frozenset(),
    "agent_engine.plugins.manager": frozenset(),
    "agent_engine.plugins.example_plugin": frozenset({"ExampleLoggingPlugin"}),
}
_BUILT_IN_CONTEXTS = frozenset({"global", "none"})
# Where memory.yaml has no profiles, or is not there.
_DEFAULT_CONTEXTS = _BUILT_IN_CONTEXTS | {"global_default"}
# Every name is compared with every other: in a longer list none is proposed.
_MOST_COMPARED = 100
_LONGEST_CIRCLE_SHOWN = 8
_LONGEST_NAME_SHOWN = 40
_NO = frozenset({"0", "f", "false", "n", "no", "off"})


def recognise(name: str, document: Any) -> bool:
    """By the files of a folder: the workflow beside agents or tools; or these two and another of the engine's files."""
    if not isinstance(document, list):
        return False
    agents, tools = AGENTS in document, TOOLS in document
    if WORKFLOW in document:
        return agents or tools
    return agents and tools and any(one in document for one in (*OPTIONAL, "workflow.yml"))


def read(reading: Reading) -> list[Spec]:
    names = _names(reading.folder)
    files = _open_all(reading, names)
    workflow = files.get(WORKFLOW)
    if workflow is not None and not _is_workflow(workflow):
        message = "is not a workflow of Agent Engine: it has neither nodes nor edges"
        reading.report("MA107", workflow, (), message)
        return []
    for name, file in files.items():
        _check(reading, name, file)
    _unread_files(reading, names)
    for name, path in _LISTS:
        if name in files:
            _repeated_ids(reading, files[name], path)
    if workflow is not None:
        graph = _Graph.of(reading, workflow)
        _check_graph(reading, graph)
        _check_nodes(reading, graph, files, MEMORY in names)
    _check_tools(reading, files)
    _check_plugins(reading, files)
    _check_policy(reading, files)
    _check_evaluations(reading, files)
    _check_models(reading, files)
    _check_credentials(reading, files)
    _check_versions(reading, files)
    if PROFILES not in names and WORKFLOW in files:
        message = (
            f"{PROFILES} is missing: without it, Engine.run answers `initialized` and runs nothing;"
            " `profiles: []` is enough"
        )
        reading.report("MA830", None, (), message)
    return [_spec(reading, workflow, files)] if workflow is not None else []


def _spec(reading: Reading, workflow: ConfigFile, files: Mapping[str, ConfigFile]) -> Spec:
    description, version = get(workflow.document, ("description",)), get(workflow.document, ("version",))
    return Spec(
        format=reading.format.name,
        agent_id=reading.name or _project(reading.folder),
        place=Place(workflow, ()),
        config_name=WORKFLOW,
        # Those in schemas/ are loaded and never used.
        files={name: file for name, file in files.items() if "/" not in name},
        description=description if isinstance(description, str) else "",
        version=_version_text(version),
        secrets=tuple(_secrets(files)),
        volumes=tuple(_volumes(files)),
    )


def _project(folder: FilePath) -> str:
    """The folder's name; the one above it where that only says that it is a config."""
    path = FilePath(os.path.abspath(folder))
    return path.parent.name if path.name in ("config", "configs") and path.parent.name else path.name


# --- files ---


def _names(folder: FilePath) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _open_all(reading: Reading, names: list[str]) -> dict[str, ConfigFile]:
    """Every file that the engine reads, and policies.yaml; what is missing or cannot be read is reported."""
    files: dict[str, ConfigFile | None] = {}
    for name in REQUIRED:
        if name in names:
            files[name] = reading.open(name)
            continue
        other = name.replace(".yaml", ".yml")
        suggestion = f"rename {other} to {name}" if other in names else None
        message = f"{name} is missing; {reading.format.title} does not start without it"
        reading.report("MA108", None, (), message, suggestion=suggestion)
    for name in (*OPTIONAL, POLICIES):
        if name in names:
            with _Levels(reading, functools.partial(_level_of_optional, name)):
                files[name] = reading.open(name)
    for name in _schema_files(reading.folder):
        with _Levels(reading, lambda one: ERROR if one.code == "MA109" else one.level):
            files[name] = reading.open(name)
    opened = {name: file for name, file in files.items() if file is not None}
    if CREDENTIALS in opened:
        _leave_published_form(opened[CREDENTIALS])
    return opened


def _leave_published_form(file: ConfigFile) -> None:
    """`providers:` of the published document is never read, so nothing in it is filled in; MA834 says what to write."""
    for path in [path for path in file.placeholders if path[0] == "providers"]:
        del file.placeholders[path]


def _level_of_optional(name: str, one: Diagnostic) -> str:
    """An empty file is as good as none, except the one whose being there counts: an empty file is not deployed."""
    return HINT if one.code == "MA110" and name != PROFILES else one.level


class _Levels:
    """Changes the levels of what is reported inside."""

    def __init__(self, reading: Reading, level_of: Callable[[Diagnostic], str]) -> None:
        self._found, self._level_of = reading.diagnostics, level_of

    def __enter__(self) -> None:
        self._start = len(self._found)

    def __exit__(self, *error: object) -> None:
        self._found[self._start :] = [
            dataclasses.replace(one, level=self._level_of(one)) for one in self._found[self._start :]
        ]


def _schema_files(folder: FilePath) -> list[str]:
    return [
        f"schemas/{name}" for name in _names(folder / "schemas") if name.endswith((".json", ".yaml", ".yml"))
    ]


def _is_workflow(file: ConfigFile) -> bool:
    document = file.document
    return not isinstance(document, dict) or any(key in document for key in ("nodes", "edges", "stages"))


def _check(reading: Reading, name: str, file: ConfigFile) -> None:
    if name == WORKFLOW:
        reading.check(file)
    elif name in REQUIRED:
        reading.check(file, f"agent-engine-{name.removesuffix('.yaml')}")
    elif name in OPTIONAL:
        reading.check(file, OPTIONAL[name])
    elif name == POLICIES:
        # Nothing in it stops the engine, which never opens it.
        with _Levels(reading, lambda one: WARNING if one.level == ERROR else one.level):
            reading.check(file, OPTIONAL[POLICY])


def _unread_files(reading: Reading, names: Iterable[str]) -> None:
    known = (*REQUIRED, *OPTIONAL)
    for name in names:
        if name in known or name.startswith(".") or not name.endswith((".yaml", ".yml", ".json")):
            continue
        if name.replace(".yml", ".yaml") in REQUIRED and name.replace(".yml", ".yaml") not in names:
            continue  # said where the required file is missed
        if name in _NEVER_READ:
            reading.report("MA829", None, (name,), f"{name}: {_NEVER_READ[name]}")
            continue
        meant = did_you_mean(name, (one for one in known if one not in names))
        message = f"{name} is not a file of {reading.format.title}: it is neither read nor deployed"
        reading.report("MA829", None, (name,), message, suggestion=meant, level=WARNING if meant else HINT)
    for name in _schema_files(reading.folder):
        if not name.endswith(".json"):
            message = f"{name}: the engine loads the files of schemas/ that end in .json, and no others"
            reading.report("MA829", None, (name,), message, level=HINT)


# --- ids ---


def _entries(document: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mappings in a list, each with its path."""
    found = get(document, path)
    for index, entry in enumerate(found if isinstance(found, list) else ()):
        if isinstance(entry, dict):
            yield (*path, index), entry


def _ids(files: Mapping[str, ConfigFile], name: str, path: Path) -> frozenset[str] | None:
    """Every id of a list; None where not all can be known, so that nothing is missed for another's mistake."""
    entries = get(files[name].document, path) if name in files else None
    if not isinstance(entries, list):
        return None
    ids = [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return frozenset(one.strip() for one in ids) if len(ids) == len(entries) else None


def _repeated_ids(reading: Reading, file: ConfigFile, path: Path) -> None:
    seen: set[str] = set()
    for place, entry in _entries(file.document, path):
        one = entry.get("id")
        if isinstance(one, str) and one in seen:
            message = f"{dotted((*place, 'id'))}: {_quoted(one)} is an id of this list already; only one of the two counts"
            reading.report("MA826", file, (*place, "id"), message)
        elif isinstance(one, str):
            seen.add(one)


def _quoted(name: str) -> str:
    """A name as messages show it: not in full length, and not at all where it may be a secret in the wrong place."""
    if checked_before.secrets(name):
        return "a name that is not shown"
    return repr(name if len(name) <= _LONGEST_NAME_SHOWN else f"{name[:_LONGEST_NAME_SHOWN]}…")


def _suggestion(word: str, known: Collection[str]) -> str | None:
    return did_you_mean(word, known) if len(known) <= _MOST_COMPARED else None


def _unknown(
    reading: Reading, code: str, file: ConfigFile, path: Path, one: Any, known: Iterable[str], why: str
) -> None:
    """Reports a name that is not among the known ones."""
    known = frozenset(known)
    if isinstance(one, str) and one.strip() not in known and "${" not in one:
        message = f"{dotted(path)} names {_quoted(one)}, {why}"
        reading.report(code, file, path, message, suggestion=_suggestion(one, known))


# --- the graph ---


@dataclass(frozen=True)
class _Role:
    """How many edges lead in and out; None: any number."""

    least_in: int
    most_in: int | None
    least_out: int
    most_out: int | None

    def is_full_in(self, count: int) -> bool:
        return self.most_in is not None and count >= self.most_in

    def is_full_out(self, count: int) -> bool:
        return self.most_out is not None and count >= self.most_out


_ROLES = {
    "start": _Role(0, 0, 1, 1),
    "linear": _Role(1, 1, 1, 1),
    "decision": _Role(1, 1, 2, None),
    "branch": _Role(1, 1, 2, None),
    "split": _Role(1, 1, 1, None),
    "merge": _Role(2, None, 1, 1),
    "exit": _Role(1, None, 0, 0),
}
# Where an agent node asks the model.
_THINKING_ROLES = frozenset({"linear", "decision", "branch", "split"})


@dataclass(frozen=True)
class _Node:
    """`role` is empty where it is none of the known ones."""

    name: str
    role: str
    default: bool
    path: Path
    entry: Mapping[str, Any]

    @property
    def rule(self) -> _Role | None:
        return _ROLES.get(self.role)

    @property
    def id_path(self) -> Path:
        return (*self.path, _key(self.entry, "stage_id", "id"))


@dataclass(frozen=True)
class _Edge:
    """`source` and `target` are names of nodes: the nearest one where it names none (then it is not `sure`), or empty."""

    source: str
    target: str
    sure: bool
    label: str
    path: Path
    entry: Mapping[str, Any]

    @property
    def from_path(self) -> Path:
        return (*self.path, _key(self.entry, "from_node_id", "from"))

    @property
    def to_path(self) -> Path:
        return (*self.path, _key(self.entry, "to_node_id", "to"))


def _key(entry: Mapping[str, Any], first: str, second: str) -> str:
    """Of two names of one key, the one that the engine looks at."""
    return first if first in entry else second


def _text(entry: Mapping[str, Any], first: str, second: str) -> str:
    value = entry.get(_key(entry, first, second))
    return value.strip() if isinstance(value, str) else ""


def _is_no(value: Any) -> bool:
    return value in (False, 0) or (isinstance(value, str) and value.lower() in _NO)


@dataclass(frozen=True)
class _Graph:
    """The workflow's nodes by name, and its edges. `whole`: every node and edge could be read."""

    file: ConfigFile
    nodes: Mapping[str, _Node]
    edges: tuple[_Edge, ...]
    whole: bool

    @classmethod
    def of(cls, reading: Reading, file: ConfigFile) -> _Graph:
        nodes: dict[str, _Node] = {}
        nameless = 0
        for path, entry in _entries(file.document, ("nodes",)):
            name = _text(entry, "stage_id", "id")
            role = entry.get("role")
            known = role if isinstance(role, str) and role in _ROLES else ""
            node = _Node(name, known, not _is_no(entry.get("default_start", False)), path, entry)
            if not name:
                nameless += 1
                continue
            if name in nodes:
                message = f"{dotted(node.id_path)}: {_quoted(name)} is a node already; the engine forgets the first of the two"
                reading.report("MA826", file, node.id_path, message)
            nodes[name] = node
        edges = tuple(_edge(nodes, path, entry) for path, entry in _entries(file.document, ("edges",)))
        _report_unknown_ends(reading, file, nodes, edges, nameless)
        return cls(file, nodes, edges, whole=not nameless)

    def leaving(self) -> dict[str, list[_Edge]]:
        """By the node where they begin, the edges that are sure."""
        found: dict[str, list[_Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            if edge.sure:
                found[edge.source].append(edge)
        return found

    @property
    def start(self) -> _Node | None:
        """Where tasks begin, or were probably meant to."""
        starts = [node for node in self.nodes.values() if node.default]
        starts += [node for node in self.nodes.values() if node.role == "start"]
        return starts[0] if starts else None


def _edge(nodes: Mapping[str, _Node], path: Path, entry: Mapping[str, Any]) -> _Edge:
    source, target = _text(entry, "from_node_id", "from"), _text(entry, "to_node_id", "to")
    return _Edge(
        source=_meant(source, nodes),
        target=_meant(target, nodes),
        sure=source in nodes and target in nodes,
        label=_text(entry, "condition", "label"),
        path=path,
        entry=entry,
    )


def _report_unknown_ends(
    reading: Reading, file: ConfigFile, nodes: Mapping[str, _Node], edges: Iterable[_Edge], nameless: int
) -> None:
    """As many names as there are nodes whose own cannot be read are taken for theirs."""
    theirs: set[str] = set()
    for edge in edges:
        if edge.sure:
            continue
        for path in (edge.from_path, edge.to_path):
            value = edge.entry.get(str(path[-1]))
            name = value.strip() if isinstance(value, str) else ""
            if not name or name in nodes or name in theirs:
                continue
            if len(theirs) < nameless and not _suggestion(name, nodes):
                theirs.add(name)
                continue
            message = f"{dotted(path)} names {_quoted(name)}, and no node has this id"
            reading.report("MA803", file, path, message, suggestion=_suggestion(name, nodes))


def _meant(name: str, nodes: Mapping[str, _Node]) -> str:
    if name in nodes:
        return name
    return (nearest(name, nodes) or "") if len(nodes) <= _MOST_COMPARED else ""


def _check_graph(reading: Reading, graph: _Graph) -> None:
    if not isinstance(get(graph.file.document, ("nodes",)), list):
        return
    _check_starts(reading, graph)
    if _is_only_a_start(graph) or not isinstance(get(graph.file.document, ("edges",)), list):
        return
    has_exit = _check_exit(reading, graph)
    closing = _check_circles(reading, graph)
    _check_edges(reading, graph, closing, has_exit)
    _check_labels(reading, graph)


def _is_only_a_start(graph: _Graph) -> bool:
    """The one workflow without an exit that the engine completes: it adds a node `exit` and the edge to it."""
    start = graph.start
    lone = start is not None and start.rule is not None and graph.nodes.keys() <= {start.name, "exit"}
    return lone and not graph.edges and all(node.role not in ("exit", "") for node in graph.nodes.values())


def _check_starts(reading: Reading, graph: _Graph) -> None:
    defaults = [node for node in graph.nodes.values() if node.default]
    starts = [node for node in graph.nodes.values() if node.role == "start"]
    for node in defaults[1:]:
        if node.role == "start":
            message = f"{dotted(node.path)}: {_quoted(defaults[0].name)} is the default start already; there can be only one"
            reading.report("MA801", graph.file, (*node.path, "default_start"), message)
    if not defaults:
        where = starts[0].path if starts else ("nodes",)
        message = (
            f"{dotted(where)}: no node of role start has default_start: true, so that no task could begin"
        )
        reading.report("MA801", graph.file, where, message)
    for node in starts:
        if not node.default and node is not graph.start:
            message = (
                f"{dotted(node.path)}: nothing leads to a second start, and the engine refuses what cannot be reached"
                " from the default start, whatever its documents say"
            )
            reading.report("MA805", graph.file, node.id_path, message)


def _check_exit(reading: Reading, graph: _Graph) -> bool:
    """Is there an exit, as far as the nodes can be read?"""
    nodes = graph.nodes.values()
    if any(node.role in ("exit", "") for node in nodes) or not graph.whole or not nodes:
        return True
    reading.report(
        "MA808", graph.file, ("nodes",), "nodes: none has the role exit, so that no task could end"
    )
    return False


def _check_circles(reading: Reading, graph: _Graph) -> frozenset[Path]:
    """Reports each edge that leads back to where the way to it came from; returns their paths."""
    leaving = graph.leaving()
    closing: set[Path] = set()
    done: set[str] = set()
    first = [graph.start.name] if graph.start else []
    for begin in (*first, *graph.nodes):
        if begin in done:
            continue
        way, waiting = {begin: None}, [iter(leaving[begin])]  # the nodes on the way, in its order
        while waiting:
            edge = next(waiting[-1], None)
            if edge is None:
                done.add(way.popitem()[0])
                waiting.pop()
            elif edge.target in way:
                message = f"{dotted(edge.path)} leads in a circle: {_circle(list(way), edge.target)}"
                reading.report("MA804", graph.file, edge.to_path, message)
                closing.add(edge.path)
            elif edge.target not in done:
                way[edge.target] = None
                waiting.append(iter(leaving[edge.target]))
    return frozenset(closing)


def _circle(way: list[str], back_to: str) -> str:
    names = way[way.index(back_to) :]
    if len(names) > _LONGEST_CIRCLE_SHOWN:
        names = [*names[: _LONGEST_CIRCLE_SHOWN - 1], "…"]
    return " → ".join(map(_quoted, (*names, back_to)))


def _check_edges(reading: Reading, graph: _Graph, closing: frozenset[Path], has_exit: bool) -> None:
    """Too many and too few edges, and nodes that no way leads to."""
    settled = [edge for edge in graph.edges if edge.sure and edge.path not in closing]
    reported = [edge for edge in graph.edges if not edge.sure or edge.path in closing]
    surplus = _check_surplus(reading, graph, settled)
    into, out = Counter(edge.target for edge in settled), Counter(edge.source for edge in settled)
    # An edge that was reported already was meant to lead somewhere; where it is not known where, it fills any gap.
    any_in = any_out = 0
    for edge in reported:
        begin, end = graph.nodes.get(edge.source), graph.nodes.get(edge.target)
        if begin and begin.rule and begin.rule.is_full_out(out[begin.name]):
            continue  # it is one too many
        if end and end.rule and edge.path not in closing and not end.rule.is_full_in(into[end.name]):
            into[end.name] += 1
        else:
            any_in += 1
        if begin:
            out[begin.name] += 1
        else:
            any_out += 1
    deaf, dead = _gaps(graph, into, out)
    deaf = deaf if graph.whole and len(deaf) > any_in else []
    dead = dead if graph.whole and len(dead) > any_out and has_exit else []
    pair = dead[0].name if len(deaf) == len(dead) == 1 and deaf != dead else None
    for node in deaf:
        _report_deaf(reading, graph, node, into[node.name], pair)
    for node in () if pair else dead:
        _report_dead(reading, graph, node, out[node.name])
    if not deaf and not reported and not surplus:
        _check_reach(reading, graph, settled)


def _gaps(graph: _Graph, into: Counter[str], out: Counter[str]) -> tuple[list[_Node], list[_Node]]:
    """The nodes with too few edges in, and those with too few out. What nothing leads to is not also a dead end."""
    deaf, dead = [], []
    for node in graph.nodes.values():
        if node.rule is None:
            continue
        if into[node.name] < node.rule.least_in:
            deaf.append(node)
        lost = not into[node.name] and node is not graph.start
        if out[node.name] < node.rule.least_out and not lost:
            dead.append(node)
    return deaf, dead


def _check_surplus(reading: Reading, graph: _Graph, settled: Iterable[_Edge]) -> bool:
    """Reports each edge that is one too many where it begins or ends; once, if it is both."""
    into: Counter[str] = Counter()
    out: Counter[str] = Counter()
    found = False
    for edge in settled:
        begin, end = graph.nodes[edge.source], graph.nodes[edge.target]
        if begin.rule and begin.rule.is_full_out(out[begin.name]):
            most = "only one" if begin.rule.most_out else "none"
            message = f"{dotted(edge.path)}: a further edge away from {_quoted(begin.name)}; {begin.role} has {most}"
            reading.report("MA806", graph.file, edge.from_path, message)
            found = True
        elif end.rule and end.rule.is_full_in(into[end.name]):
            most = "only one" if end.rule.most_in else "none"
            message = f"{dotted(edge.path)}: a further edge to {_quoted(end.name)}; {end.role} has {most}"
            reading.report("MA806", graph.file, edge.to_path, message)
            found = True
        out[edge.source] += 1
        into[edge.target] += 1
    return found


def _report_deaf(reading: Reading, graph: _Graph, node: _Node, into: int, pair: str | None) -> None:
    suggestion = f"is an edge from {pair} to {node.name} missing?" if pair else None
    if into:
        message = f"{dotted(node.path)}: one edge leads to {_quoted(node.name)}; a merge needs two or more"
        reading.report("MA806", graph.file, node.id_path, message, suggestion=suggestion)
    elif node is not graph.start:
        message = f"{dotted(node.path)}: no edge leads to {_quoted(node.name)}"
        reading.report("MA805", graph.file, node.id_path, message, suggestion=suggestion)


def _report_dead(reading: Reading, graph: _Graph, node: _Node, out: int) -> None:
    count = "one edge leads" if out else "no edge leads"
    needs = "two or more" if node.rule and node.rule.least_out == 2 else "one"
    message = f"{dotted(node.path)}: {count} away from {_quoted(node.name)}; {node.role} needs {needs}"
    reading.report("MA806", graph.file, node.id_path, message)


def _check_reach(reading: Reading, graph: _Graph, settled: Iterable[_Edge]) -> None:
    """What has edges, and is still not reached: behind a second start, which is reported itself, or in a circle."""
    start = graph.start
    if start is None or any(node.role == "start" and node is not start for node in graph.nodes.values()):
        return
    following: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for edge in settled:
        following[edge.source].append(edge.target)
    reached, waiting = {start.name}, deque([start.name])
    while waiting:
        for target in following[waiting.popleft()]:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    for node in graph.nodes.values():
        if node.name not in reached:
            message = f"{dotted(node.path)}: no way leads from {_quoted(start.name)} to {_quoted(node.name)}"
            reading.report("MA805", graph.file, node.id_path, message)


def _check_labels(reading: Reading, graph: _Graph) -> None:
    """A decision takes the first edge with the label that was answered."""
    for name, edges in graph.leaving().items():
        if graph.nodes[name].role != "decision":
            continue
        seen: set[str] = set()
        for edge in edges:
            if not edge.label:
                message = f"{dotted(edge.path)} has no label, so that the decision {_quoted(name)} can never choose it"
                reading.report("MA825", graph.file, edge.path, message)
            elif edge.label in seen:
                place = (*edge.path, _key(edge.entry, "condition", "label"))
                label = _quoted(edge.label)
                message = (
                    f"{dotted(place)}: {_quoted(name)} takes the first edge labelled {label}, never this one"
                )
                reading.report("MA825", graph.file, place, message)
            else:
                seen.add(edge.label)


# --- what nodes name ---


def _check_nodes(reading: Reading, graph: _Graph, files: Mapping[str, ConfigFile], has_memory: bool) -> None:
    agents, tools = _ids(files, AGENTS, ("agents",)), _ids(files, TOOLS, ("tools",))
    contexts = _contexts(files, has_memory)
    for path, entry in _entries(graph.file.document, ("nodes",)):
        agent = entry.get("kind") == "agent"
        if agents is not None and agent:
            why = f"and {AGENTS} has no such agent; the engine does not notice"
            _unknown(reading, "MA820", graph.file, (*path, "agent_id"), entry.get("agent_id"), agents, why)
        named = entry.get("tools")
        for index, tool in enumerate(named if isinstance(named, list) and tools is not None else ()):
            why = f"and {TOOLS} has no such tool: calls of it fail"
            _unknown(reading, "MA821", graph.file, (*path, "tools", index), tool, tools or (), why)
        if contexts is not None and entry.get("context"):
            why = "which is no context profile: each task fails at this node"
            _unknown(reading, "MA822", graph.file, (*path, "context"), entry["context"], contexts, why)
        _check_schema_ids(reading, graph.file, path, entry, ("inputs_schema_id", "outputs_schema_id"))
        if agent and entry.get("context") == "none" and entry.get("role") in _THINKING_ROLES and not named:
            message = (
                f"{dotted((*path, 'context'))}: an agent without tools whose context is none fails at each task"
                " in engine 0.0.1"
            )
            reading.report("MA824", graph.file, (*path, "context"), message, suggestion="write global")


def _contexts(files: Mapping[str, ConfigFile], has_memory: bool) -> frozenset[str] | None:
    """What `context` of a node can name; None where that cannot be known."""
    if MEMORY not in files:
        return None if has_memory else _DEFAULT_CONTEXTS
    memory = get(files[MEMORY].document, ("memory",))
    if isinstance(memory, dict) and "context_profiles" not in memory:
        return _DEFAULT_CONTEXTS
    own = _ids(files, MEMORY, ("memory", "context_profiles"))
    return None if own is None else _BUILT_IN_CONTEXTS | own


def _check_schema_ids(
    reading: Reading, file: ConfigFile, path: Path, entry: Mapping[str, Any], keys: Iterable[str]
) -> None:
    for key in keys:
        if entry.get(key):
            why = "and the engine checks against schemas of its own only, never those in schemas/: each task fails here"
            _unknown(reading, "MA823", file, (*path, key), entry[key], _SCHEMAS, why)


def _check_tools(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    if TOOLS not in files:
        return
    file = files[TOOLS]
    for path, entry in _entries(file.document, ("tools",)):
        _check_schema_ids(reading, file, path, entry, ("outputs_schema_id",))
        point, place = entry.get("entrypoint"), (*path, "entrypoint")
        if not isinstance(point, str) or point.count(":") != 1:
            continue
        module, _colon, function = point.partition(":")
        known = _own_module(reading, file, place, module)
        if known is not None and function not in known:
            message = f"{dotted(place)}: {module} has no {_quoted(function)}; the tool only answers with what it was given"
            reading.report("MA827", file, place, message, suggestion=did_you_mean(function, known))


def _own_module(reading: Reading, file: ConfigFile, path: Path, module: str) -> frozenset[str] | None:
    """What can be named in a module of the engine's own; None for others, and, reported, where it has no such module."""
    if (
        not module.startswith(tuple(f"{package}." for package in _OWN_PACKAGES))
        and module not in _OWN_PACKAGES
    ):
        return None
    if module not in _OWN_MODULES:
        message = f"{dotted(path)}: {reading.format.title} 0.0.1 has no module {_quoted(module)}, and does not start"
        usable = (name for name, members in _OWN_MODULES.items() if members)
        reading.report("MA810", file, path, message, suggestion=did_you_mean(module, usable))
    return _OWN_MODULES.get(module)


def _check_plugins(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    if PLUGINS not in files:
        return
    file = files[PLUGINS]
    for path, entry in _entries(file.document, ("plugins",)):
        value, place = entry.get("module"), (*path, "module")
        if entry.get("enabled", True) is not True or not isinstance(value, str) or ":" in value:
            continue
        module, _point, name = value.rpartition(".")
        known = _own_module(reading, file, place, module)
        if known is not None and name not in known:
            message = f"{dotted(place)}: {_quoted(module)} has no plugin {_quoted(name)}, and the engine does not start"
            reading.report("MA810", file, place, message, suggestion=did_you_mean(name, known))


def _check_policy(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    file, tools = files.get(POLICY) or files.get(POLICIES), _ids(files, TOOLS, ("tools",))
    if file is None or tools is None:
        return
    for path, _policy in _entries(file.document, ("policies",)):
        for place, rule in _entries(file.document, (*path, "rules")):
            if rule.get("target") == "tool":
                why = f"and {TOOLS} has no such tool: the rule is never applied"
                _unknown(reading, "MA821", file, (*place, "target_id"), rule.get("target_id"), tools, why)


def _check_evaluations(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    file, workflow = files.get(EVALUATIONS), files.get(WORKFLOW)
    if file is None or workflow is None:
        return
    nodes = frozenset(
        _text(entry, "stage_id", "id") for _path, entry in _entries(workflow.document, ("nodes",))
    )
    for path, _suite in _entries(file.document, ("suites",)):
        for place, case in _entries(file.document, (*path, "cases")):
            why = "and no node has this id: the trial fails"
            with _Levels(reading, lambda one: WARNING):
                _unknown(
                    reading, "MA803", file, (*place, "start_node_id"), case.get("start_node_id"), nodes, why
                )


# --- models, credentials, versions ---


def _provider(llm: Any) -> str:
    return llm.partition("/")[0].strip().lower() if isinstance(llm, str) and "/" in llm else ""


def _check_models(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    """The engine asks Anthropic, for every node, with the model of the first agent and nothing of anybody's `config`."""
    file = files.get(AGENTS)
    entries = list(_entries(file.document, ("agents",))) if file else []
    if file is None or not entries:
        return
    first = entries[0][1].get("llm")
    if isinstance(first, str) and _provider(first) not in ("", "anthropic"):
        message = (
            f"{dotted(('agents', 0, 'llm'))}: engine 0.0.1 asks Anthropic, by itself, whatever the provider"
        )
        reading.report("MA831", file, ("agents", 0, "llm"), message)
    for path, entry in entries[1:]:
        if isinstance(entry.get("llm"), str) and entry["llm"] != first:
            message = f"{dotted((*path, 'llm'))}: engine 0.0.1 answers with the model of the first agent for all of them"
            reading.report("MA831", file, (*path, "llm"), message)
    for path, entry in entries:
        if isinstance(entry.get("config"), dict) and entry["config"]:
            message = f"{dotted((*path, 'config'))}: engine 0.0.1 hands nothing of it to the model, system_prompt neither"
            reading.report("MA831", file, (*path, "config"), message)
            return


def _credentials(files: Mapping[str, ConfigFile]) -> Iterator[tuple[Path, str, str]]:
    """Where a variable is named, the provider, and the variable."""
    file = files.get(CREDENTIALS)
    for path, entry in _entries(file.document, ("provider_credentials",)) if file else ():
        auth, provider = entry.get("auth"), entry.get("provider")
        if isinstance(auth, dict) and auth.get("source") == "env" and isinstance(auth.get("env_var"), str):
            yield (
                (*path, "auth", "env_var"),
                provider.lower() if isinstance(provider, str) else "",
                auth["env_var"],
            )


def _check_credentials(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    for path, provider, variable in _credentials(files):
        own = _KEYS.get(provider)
        if own and variable != own and NAME.fullmatch(variable):
            message = (
                f"{dotted(path)}: the engine's own client for {provider} reads {own}, whatever is named here"
            )
            reading.report("MA833", files[CREDENTIALS], path, message)


def _secrets(files: Mapping[str, ConfigFile]) -> Iterator[SecretReference]:
    """What provider_credentials.yaml names, needed where an agent's model is of that provider; and what is read unnamed."""
    agents = files.get(AGENTS)
    models = list(_entries(agents.document, ("agents",))) if agents else []
    providers = {_provider(entry.get("llm")): path for path, entry in reversed(models)}
    seen = set()
    named = sorted(_credentials(files), key=lambda one: one[1] not in providers)
    for path, provider, variable in named:
        if NAME.fullmatch(variable) and variable not in seen:
            seen.add(variable)
            yield SecretReference(variable, Place(files[CREDENTIALS], path), provider in providers)
    for provider, variable in _KEYS.items():
        if agents and provider in providers and variable not in seen:
            yield SecretReference(variable, Place(agents, (*providers[provider], "llm")), required=False)


def _volumes(files: Mapping[str, ConfigFile]) -> Iterator[Volume]:
    """The folders of stores that are kept in files, where the config says where they are."""
    memory = files.get(MEMORY)
    seen = set()
    for store in ("task_store", "project_store", "global_store"):
        entry = get(memory.document, ("memory", store)) if memory else None
        if not isinstance(entry, dict):
            continue
        key = {"jsonl": "file_path", "sqlite": "db_path"}.get(
            str(entry.get("backend") or entry.get("type")), ""
        )
        path = entry.get(key)
        folder = posixpath.dirname(path) if isinstance(path, str) and posixpath.isabs(path) else ""
        if folder and folder not in seen:
            seen.add(folder)
            yield Volume(store.replace("_", "-"), folder)


def _version_text(version: Any) -> str | None:
    if isinstance(version, bool) or not isinstance(version, (str, int, float)):
        return None
    return str(version)


def _check_versions(reading: Reading, files: Mapping[str, ConfigFile]) -> None:
    """The forms that the schema lets through and people should know of, and files that differ."""
    versions = {
        name: text
        for name, file in files.items()
        if not name.startswith("schemas/") and (text := _version_text(get(file.document, ("version",))))
    }
    for name, text in versions.items():
        if text.isdigit() and not isinstance(get(files[name].document, ("version",)), str):
            message = f'version: {text}: write MAJOR.MINOR.PATCH, such as "{text}.0.0"'
            reading.report("MA305", files[name], ("version",), message)
    main = versions.get(WORKFLOW)
    if main and main.count(".") == 1 and main.replace(".", "").isdigit():
        message = f'version: {main} has no patch level; "{main}.0" says the same in full'
        reading.report("MA305", files[WORKFLOW], ("version",), message, level=HINT)
    for name, text in versions.items():
        if main and text != main:
            message = f"version: {name} says {text}, and {WORKFLOW} says {main}"
            reading.report("MA832", files[name], ("version",), message)


CODES = (
    Code(
        "MA801",
        ERROR,
        "is not the one default start",
        "Exactly one node of role `start` has `default_start: true`; tasks begin there. With none or two, Agent Engine"
        " does not start.",
    ),
    Code(
        "MA802",
        ERROR,
        "cannot be where tasks begin",
        "`default_start: true` belongs to a node of role `start` and to no other. Correct the role, or remove the key.",
    ),
    Code(
        "MA803",
        ERROR,
        "names a node that is not there",
        "An edge begins or ends at an id that no node has, and the engine does not start. In evaluations.yaml it is a"
        " warning: only that trial fails.",
    ),
    Code(
        "MA804",
        ERROR,
        "leads in a circle",
        "A workflow has no loops; the engine does not start with one. The place is the edge that closes the circle. What"
        " must be repeated is repeated outside of the workflow, or inside of a tool.",
    ),
    Code(
        "MA805",
        ERROR,
        "cannot be reached",
        "Every node must be reached from the default start. The engine's documents allow several start nodes; no edge may"
        " lead to one, so that it can never be reached, and the engine refuses it all the same. Use one start, followed by"
        " a decision.",
    ),
    Code(
        "MA806",
        ERROR,
        "has the wrong number of edges",
        "The role fixes how many edges lead to a node and away from it:\n\n"
        "| role | in | out |\n|---|---|---|\n| start | 0 | 1 |\n| linear | 1 | 1 |\n| decision, branch | 1 | 2 or more |\n"
        "| split | 1 | 1 or more |\n| merge | 2 or more | 1 |\n| exit | 1 or more | 0 |\n\n"
        "A fallback is not a second edge away from a linear node: make that node a decision, or let several edges meet in"
        " a merge.",
    ),
    Code(
        "MA807",
        ERROR,
        "must be deterministic",
        "A start takes the task in and an exit hands the result over; neither can be done by an agent.",
    ),
    Code(
        "MA808",
        ERROR,
        "has no exit",
        "No node has the role `exit`. The engine then adds one behind the start, which gives the start a second edge, and"
        " refuses that with a message about the start. Add a node of role exit.",
    ),
    Code(
        "MA809",
        ERROR,
        "belongs to another role",
        "An exit cannot have tools, and only an exit can have `always_fail`.",
    ),
    Code(
        "MA810",
        ERROR,
        "names a module that Agent Engine does not have",
        "Its project template names modules such as `agent_engine.tools.http` and `agent_engine.plugins.telemetry`, which"
        " are in no release; the engine does not start with them. It has `agent_engine.tools.filesystem` with read_file,"
        " write_file and list_files, and the plugin `agent_engine.plugins.example_plugin.ExampleLoggingPlugin`. Modules of"
        " your own cannot be checked here: they must be among what the runtime can import.",
    ),
    Code(
        "MA820",
        WARNING,
        "names an agent that is not there",
        "The engine does not compare `agent_id` with agents.yaml. Version 0.0.1 runs the node all the same, with the model"
        " of the first agent.",
    ),
    Code(
        "MA821",
        WARNING,
        "names a tool that is not there",
        "The engine does not compare tool ids with tools.yaml. A node that calls the tool gets an error instead of a"
        " result; a policy for it never applies, so that a misspelt rule denies nothing.",
    ),
    Code(
        "MA822",
        WARNING,
        "names a context that is not there",
        "`context` of a node is `global`, `none`, or the id of a profile in memory.yaml. The engine starts, and every task"
        " fails when it comes to this node. Where memory.yaml has no `context_profiles`, there is one: `global_default`.",
    ),
    Code(
        "MA823",
        WARNING,
        "names a schema that the engine does not have",
        "The engine checks what goes into a node, and what comes out, against schemas that are built into it (such as"
        " `tool_plan`). The files in `schemas/` are loaded and never used. With any other id, every task fails at this"
        " node. Leave the key out.",
    ),
    Code(
        "MA824",
        WARNING,
        "is an agent without context",
        "Engine 0.0.1 looks into the context when it writes the prompt of a node without tools, also where `context` is"
        " `none`, and every task fails there. Write `global`, or a profile without sources.",
    ),
    Code(
        "MA825",
        WARNING,
        "is an edge that is never chosen",
        "A decision answers with a label, and the first edge that has it is taken. An edge without a label, or with the"
        " label of an earlier one, is never taken.",
    ),
    Code(
        "MA826",
        WARNING,
        "is an id used twice",
        "The engine keeps nodes, agents, tools, profiles and plugins by id, and the last one replaces the first without a"
        " word. Of two CLI profiles it is the first that counts.",
    ),
    Code(
        "MA827",
        WARNING,
        "is a value that the engine takes and cannot use",
        "The engine does not look at this value when it starts, and later it does not do what it says: it falls back to"
        " something else, or each task fails. The message says which.",
    ),
    Code(
        "MA828",
        WARNING,
        "is a key that is never read",
        "People expect this key here, most often because one of the engine's documents has it. The engine passes it over."
        " The message says what to write instead, if there is anything.",
    ),
    Code(
        "MA829",
        WARNING,
        "is a file that is never read",
        "The engine opens a fixed list of files. `policies.yaml`, as the deployment document calls it, is not among them:"
        " **what it denies stays allowed** until it is renamed to `policy.yaml`. For a file that only happens to lie in"
        " the folder it is a hint; such files are not deployed.",
    ),
    Code(
        "MA830",
        WARNING,
        "runs no task",
        "Engine 0.0.1 decides by the presence of cli_profiles.yaml, which its documents call optional, whether"
        " `Engine.run` runs the workflow. Without the file it answers `initialized`, and nothing else happens. A file with"
        " `profiles: []` is enough. `run_multiple` and `run_queued` are not affected.",
    ),
    Code(
        "MA831",
        HINT,
        "does not reach the model",
        "In engine 0.0.1, every agent node is answered by Anthropic, with the key in ANTHROPIC_API_KEY and the model of"
        " the first agent in agents.yaml. Other agents' models, other providers, and everything under `config`"
        " (temperature, max_tokens, system_prompt) are kept and not used, unless a program sets them through the engine's"
        " Python interface. Without the key, nodes hand their prompt on instead of an answer.",
    ),
    Code(
        "MA832",
        HINT,
        "is another version than the workflow's",
        "The version that counts for the deploy is the one in workflow.yaml.",
    ),
    Code(
        "MA833",
        HINT,
        "is not the variable that is read",
        "provider_credentials.yaml is for programs that ask the engine for a credential. The engine's own clients do not:"
        " they read ANTHROPIC_API_KEY and OPENAI_API_KEY. Use these names, unless your program hands the key on.",
    ),
    Code(
        "MA834",
        WARNING,
        "is a form of credentials that is not read",
        "The deployment document shows `providers: {anthropic: {api_key: ${ANTHROPIC_API_KEY}}}`. The engine reads a list"
        " `provider_credentials` and passes this over, and it expands no `${…}`, nor `${…:-default}`. Write:\n\n"
        "```yaml\nprovider_credentials:\n  - id: anthropic\n    provider: anthropic\n    auth:\n      type: api_key\n"
        "      source: env\n      env_var: ANTHROPIC_API_KEY\n```\n\n"
        "and put the value into `agent_secrets`.",
    ),
    Code(
        "MA835",
        ERROR,
        "is the form of an older engine",
        "Older examples of the engine have `stages`, and edges with `from_stage_id` and `to_stage_id`. Version 0.0.1 reads"
        " `nodes`, each with id, kind, role and context, and edges with `from` and `to`.",
    ),
)

FORMATS = (
    Format(
        name="agent-engine",
        title="Agent Engine",
        schema="agent-engine",
        file_names=(*REQUIRED, *OPTIONAL, POLICIES),
        recognise=recognise,
        read=read,
        prose=_PROSE,
        codes=CODES,
        folder=True,
    ),
)
