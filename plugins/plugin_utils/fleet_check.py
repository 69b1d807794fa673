# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the agents of a fleet together: ids, ports, dependencies, secrets, memory.

Each check is a pure function of the survey; `CHECKS` has them all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.muster.agents.plugins.module_utils.engine import envfile
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.plugin_utils import checked_before
from ansible_collections.muster.agents.plugins.plugin_utils.config_file import dotted, get
from ansible_collections.muster.agents.plugins.plugin_utils.dependencies import circles
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    ERROR,
    Diagnostic,
    did_you_mean,
    fleet_error,
)
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import (
    HOST_MEMORY,
    SOME_PORT,
    Inputs,
    Instance,
    Survey,
    derived_login,
    environment_of,
    in_fleet,
    plain,
)
from ansible_collections.muster.agents.plugins.plugin_utils.formats import catalogue
from ansible_collections.muster.agents.plugins.plugin_utils.reading import place_of
from ansible_collections.muster.agents.plugins.plugin_utils.spec import Dependency, Place, Spec


def _settings(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """What the fleet and its runtimes themselves set: no secret, and only what a process can be given."""
    for name, entry in inputs.fleet.items():
        yield from _environment(f"fleet.{name}.environment", entry.environment, name)
    used = {entry.runtime for entry in inputs.fleet.values()}
    for name, runtime in inputs.runtimes.items():
        if name in used:
            yield from _environment(f"agent_runtimes.{name}.environment", runtime.environment, "")
            for key, words in (("run", runtime.run), ("check", runtime.check)):
                yield from _command(f"agent_runtimes.{name}.{key}", words, "use agent_secrets")
    told = {
        "fleet_notify": inputs.notify,
        **{f"fleet.{name}.notify": one.notify for name, one in inputs.fleet.items()},
    }
    for where, notify in told.items():
        if notify is not None:
            yield from _command(
                f"{where}.run", notify.run, "let the command read it from a file of its user's"
            )


def _command(where: str, words: Sequence[str], instead: str) -> Iterator[Diagnostic]:
    if checked_before.secrets(list(words)):
        message = f"holds a literal secret, which every user of the host can see; {instead}"
        yield fleet_error("MA301", where, message)


def _environment(where: str, environment: Mapping[str, str], agent: str) -> Iterator[Diagnostic]:
    secret = {one.path[0]: one.kind for one in checked_before.secrets(dict(environment))}
    for variable, value in environment.items():
        if variable in secret:
            message = f"holds {secret[variable]}; put it into agent_secrets in the vault"
            yield fleet_error("MA301", f"{where}.{variable}", message, agent=agent)
            continue
        try:
            envfile.render({variable: value})
        except EngineError as error:
            yield fleet_error("MA403", where, str(error), agent=agent)


def _at(code: str, place: Place, message: str, agent: str, suggestion: str | None = None) -> Diagnostic:
    """A finding in an agent's config, or in the fleet where that overrides it."""
    if place.path and get(place.file.overrides, place.path) is not None:
        return in_fleet(code, f"fleet.{agent}.overrides.{dotted(place.path)}", message, agent, suggestion)
    line, column = place_of(place.file.source, place.path)
    path = dotted(place.path)
    level = catalogue()[code].level
    return Diagnostic(code, level, message, place.file.shown, line, column, path, suggestion, agent)


class _Nearest:
    """`did you mean …?`, for as many names as a person would read: each is compared with all that are known."""

    _MOST = 50

    def __init__(self, known: Iterable[str]) -> None:
        self._known = sorted(known)
        self._found: dict[str, str | None] = {}

    def __call__(self, name: str) -> str | None:
        if name not in self._found and len(self._found) < self._MOST:
            self._found[name] = did_you_mean(name, self._known)
        return self._found.get(name)


def _duplicate_ids(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """Once for each pair of agents, however many instances they have."""
    owners: dict[str, Instance] = {}
    said = set()
    for one in found.instances:
        first = owners.setdefault(one.agent_id, one)
        pair = (first.agent.name, one.agent.name)
        if first is not one and pair not in said:
            said.add(pair)
            message = (
                f"the id {one.agent_id!r} of {one.name} is also that of {first.name}; one id never runs twice"
            )
            if one.agent.spec.place.file.path == first.agent.spec.place.file.path:
                yield fleet_error("MA408", f"fleet.{one.agent.name}", message, agent=one.agent.name)
            else:
                yield _at("MA408", _place_of_id(one.agent.spec), message, one.agent.name)


def _place_of_id(spec: Spec) -> Place:
    return replace(spec.place, path=spec.identity or spec.place.path)


def _ports(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """Once for each pair of agents and port, however many hosts they meet on."""
    taken: dict[tuple[str, int], Instance] = {}
    said = set()
    for one in found.instances:
        for number in dict.fromkeys([one.port, *(port.number for port in one.agent.spec.ports[1:])]):
            first = taken.setdefault((one.host, number), one)
            pair = (first.agent.name, one.agent.name, number)
            if first is not one and pair not in said:
                said.add(pair)
                yield _colliding(number, first, one)
    yield from _ports_of_pools(inputs, found, {(second, number) for _first, second, number in said})


def _colliding(number: int, first: Instance, one: Instance) -> Diagnostic:
    agent = one.agent
    fixed = (port.place for port in agent.spec.ports if number == port.number != agent.entry.port)
    own = next(fixed, None)
    if first.agent is agent:
        message = f"two instances of {agent.name} on {one.host} would both have port {number}, which its config fixes"
        return _at("MA419", own or agent.spec.place, message, agent.name)
    message = f"port {number} on {one.host} is also that of {first.name}"
    if number == one.port:
        message += f"; set fleet.{agent.name}.port"
    if own:
        return _at("MA409", own, message, agent.name)
    return in_fleet("MA409", f"fleet.{agent.name}.port", message, agent.name)


def _ports_of_pools(inputs: Inputs, found: Survey, said: Iterable[tuple[str, int]]) -> Iterator[Diagnostic]:
    """Equal ports of the fleet's own where the agents share a pool, but today no host."""
    owners: dict[tuple[str, int], str] = {}
    for name, entry in inputs.fleet.items():
        port = entry.port
        if port is None:
            continue
        others = [owners.setdefault((host, port), name) for host in inputs.resolve_hosts(entry.pool)]
        other = next((one for one in others if one != name), None)
        if other and (name, port) not in said:
            message = f"{port} is also that of {other}; an agent that moves would meet it"
            yield in_fleet("MA409", f"fleet.{name}.port", message, name)


def _cannot_run_twice(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    counts = Counter(one.agent.name for one in found.instances)
    for name, agent in found.agents.items():
        if counts[name] > 1 and agent.runtime.single:
            message = f"{counts[name]} instances, and the runtime {agent.runtime.name} says `single: true`"
            yield in_fleet("MA419", f"fleet.{name}.instances", message, name)


def _other_numbers(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """Where a config writes how many copies it wants, and the fleet runs another number."""
    counts = Counter(one.agent.name for one in found.instances)
    for name, agent in found.agents.items():
        scaling, written = agent.spec.scaling, _place_of_key(agent.spec, "scaling", "replicas")
        if scaling is None or scaling.autoscale or written is None or not counts[name]:
            continue
        if scaling.replicas != counts[name]:
            message = f"the config's replicas are {scaling.replicas}; the fleet runs {counts[name]}"
            yield _at("MA424", written, message, name)


def _place_of_key(spec: Spec, *path: str) -> Place | None:
    """Where a config writes a key, be it one of a list of agents; None where it does not."""
    document = spec.place.file.document
    listed = spec.place.path[:1] if isinstance(document, list) else ()
    whole = (*listed, *path)
    return Place(spec.place.file, whole) if get(document, whole) is not None else None


def _names(found: Survey) -> dict[str, str]:
    """Every name that an agent goes by → its fleet key: ids before keys, both before those of instances."""
    names: dict[str, str] = {}
    for name, agent in found.agents.items():
        names.setdefault(plain(agent.spec.agent_id), name)
    for name in found.agents:
        names.setdefault(plain(name), name)
    for one in found.instances:
        names.setdefault(plain(one.agent_id), one.agent.name)
        names.setdefault(plain(one.name), one.agent.name)
    return names


def _dependencies(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    names = _names(found)
    nearest = _Nearest({*found.agents, *(agent.spec.agent_id for agent in found.agents.values())})
    known: dict[str, dict[str, Dependency]] = {name: {} for name in found.agents}
    for key, agent in found.agents.items():
        for one in agent.spec.dependencies:
            other = names.get(plain(one.name))
            if other is None and found.whole:
                code, verb = ("MA410", "needs") if one.required else ("MA411", "can use")
                message = f"{agent.spec.agent_id} {verb} {one.name}, and no agent of the fleet is it"
                yield _at(code, one.place, message, key, nearest(one.name))
            elif other is not None and (one.required or other not in known[key]):
                known[key][other] = one
    yield from _circles(known)


def _circles(known: Mapping[str, Mapping[str, Dependency]]) -> Iterator[Diagnostic]:
    """`known`: agent → agent → how it depends on that."""
    edges = {name: {other: one.required for other, one in others.items()} for name, others in known.items()}
    needed, other_circles = circles(edges)
    for code, kind, several in (
        ("MA412", "required dependencies", needed),
        ("MA413", "dependencies", other_circles),
    ):
        for circle in several:
            first, second = circle[0], circle[1 % len(circle)]
            message = f"a circle of {kind}: {' → '.join([*circle, first])}"
            yield _at(code, known[first][second].place, message, first)


def _targets(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    if not found.whole:
        return  # the one that is meant may be among those that could not be read
    running: dict[str, list[str]] = {name: [] for name in found.agents}
    for instance in found.instances:
        running[instance.agent.name].append(instance.agent_id)
    ids = {one for several in running.values() for one in several}
    # An agent without a host has been reported; that nobody serves its id is the same mistake.
    ids |= {agent.spec.agent_id for name, agent in found.agents.items() if not running[name]}
    several = {agent.spec.agent_id: running[name] for name, agent in found.agents.items()}
    nearest = _Nearest(ids)
    for key, agent in found.agents.items():
        for one in agent.spec.targets:
            if one.agent_id in ids or "${" in one.agent_id:
                continue
            if one.agent_id in several:
                instances = _listed(several[one.agent_id])
                message = f"{one.agent_id!r} runs as {instances}, and none of them has that id"
                yield _at("MA414", one.place, message, key)
            else:
                message = f"no agent of the fleet has the id {one.agent_id!r}; its tasks would wait for ever"
                yield _at("MA414", one.place, message, key, nearest(one.agent_id))


def _logins(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """On the broker group's own broker; another one may let everybody in."""
    if inputs.broker is None or not inputs.broker.own:
        return
    for key, agent in found.agents.items():
        mqtt = agent.spec.mqtt
        if mqtt and mqtt.url == inputs.broker.url and not (mqtt.username_env and mqtt.password_env):
            message = (
                "mqtt.username_env and mqtt.password_env are needed: the broker lets nobody in without a name"
            )
            yield _at("MA422", replace(agent.spec.place, path=("mqtt",)), message, key)


def _credentials_key(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    logins = (derived_login(inputs, agent.spec, agent.spec.agent_id) for agent in found.agents.values())
    if not inputs.credentials_key and any(logins):
        message = (
            "is missing, and the agents' passwords for the broker are derived from it; add the output of"
            f" `openssl rand -hex 32` {inputs.vault_hint}"
        )
        yield fleet_error("MA415", "fleet_credentials_key", message)


def _missing_secrets(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    if inputs.secret_names is None:
        return
    nearest = _Nearest(inputs.secret_names)
    for key, agent in found.agents.items():
        spec = agent.spec
        environment = environment_of(inputs, agent.entry, agent.runtime, spec, key, SOME_PORT)
        login = derived_login(inputs, spec, spec.agent_id)
        given = {*inputs.secret_names, *environment, *login}
        if login and spec.mqtt and spec.mqtt.password_env:
            given.add(spec.mqtt.password_env)
        for reference in spec.secrets:
            if reference.required and reference.variable not in given:
                message = (
                    f"agent {key}: {dotted(reference.place.path)} needs {reference.variable}, and agent_secrets has no such"
                    f" key; add it {inputs.vault_hint}"
                )
                yield _at("MA415", reference.place, message, key, nearest(reference.variable))


def _unused_secrets(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """Only where every config is right: a key that is misspelt in one may be the use."""
    if not found.whole or any(one.level == ERROR for one in found.diagnostics):
        return
    used = {reference.variable for agent in found.agents.values() for reference in agent.spec.secrets}
    nearest = _Nearest(used)
    for name in sorted((inputs.secret_names or frozenset()) - used):
        message = f"no agent of the fleet uses {name}"
        yield in_fleet("MA416", f"agent_secrets.{name}", message, suggestion=nearest(name))


def _memory(inputs: Inputs, found: Survey) -> Iterator[Diagnostic]:
    """An agent that is too large for its host is said once, and not again in what the host's agents use together."""
    by_host: dict[str, list[Instance]] = defaultdict(list)
    for one in found.instances:
        by_host[one.host].append(one)
    said = set()
    for host, instances in by_host.items():
        has = inputs.host_memory(host)
        if has is None:
            continue
        large = [one for one in instances if one.agent.resources.memory > has]
        for one in large:
            if one.agent.name not in said:
                said.add(one.agent.name)
                yield _too_large(one, has)
        if not large:
            yield from _together(host, has, instances)


def _too_large(one: Instance, has: int) -> Diagnostic:
    agent = one.agent
    message = f"{one.name} may use {_size(agent.resources.memory)}, and {one.host} has {_size(has)}"
    own = _place_of_key(agent.spec, "resources", "memory")
    if own and "memory" not in agent.entry.resources:
        return _at("MA417", own, message, agent.name)
    return in_fleet("MA417", f"fleet.{agent.name}.resources.memory", message, agent.name)


def _together(host: str, has: int, instances: Sequence[Instance]) -> Iterator[Diagnostic]:
    asked = sum(one.agent.resources.memory_request or 0 for one in instances)
    limits = sum(one.agent.resources.memory for one in instances)
    names = _listed(sorted(one.name for one in instances))
    if asked > has:
        message = f"{names} request {_size(asked)} together, and {host} has {_size(has)}"
        yield in_fleet("MA417", HOST_MEMORY, message)
    elif limits > has:
        message = f"{names} may use {_size(limits)} together, and {host} has {_size(has)}"
        yield in_fleet("MA418", HOST_MEMORY, message)


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"


def _listed(names: Sequence[str]) -> str:
    """As many as a person reads."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


CHECKS: tuple[Callable[[Inputs, Survey], Iterable[Diagnostic]], ...] = (
    _settings,
    _duplicate_ids,
    _ports,
    _cannot_run_twice,
    _other_numbers,
    _dependencies,
    _targets,
    _logins,
    _credentials_key,
    _missing_secrets,
    _memory,
    _unused_secrets,  # the last: it asks what the others found
)
