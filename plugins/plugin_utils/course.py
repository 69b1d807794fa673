# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The course of one rollout over the fleet: what is to be done after staging, how far it is, what came of it.

A course is plain data, since it travels between the tasks of deploy.yml as a registered result. It is never changed in
place: each function returns the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import (
    FAILED,
    REFUSED,
    RELEASED,
    REMOVED,
    REVERTED,
    UNCHANGED,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.table import short, table
from ansible_collections.muster.agents.plugins.plugin_utils.broker import BROKER
from ansible_collections.muster.agents.plugins.plugin_utils.host_call import UNREACHABLE, sentence, went_well
from ansible_collections.muster.agents.plugins.plugin_utils.plan import workloads_of
from ansible_collections.muster.agents.plugins.plugin_utils.rollout import Policy, exceeded, waves

Course = dict[str, Any]
# What people read, by what the engine says of an agent. One that did not come up and had no release before failed.
WORDS = {
    RELEASED: "changed",
    UNCHANGED: "unchanged",
    REVERTED: "reverted",
    REMOVED: "failed",
    FAILED: "failed",
    REFUSED: "failed",
}
COUNTED = ("changed", "unchanged", "reverted", "failed", "unreachable")
NO_ANSWER = {"kind": FAILED, "msg": "gave no result; what Ansible said of it stands above"}


def begin(plan: Mapping[str, Any], hosts: Sequence[str], staged: Mapping[str, Mapping[str, Any]]) -> Course:
    """What staging found on all `hosts`, and what follows from it.

    `waves`: for each, `switch` and `retire`: host → agents. `problems`: host → {kind, msg}. `stop`: why nothing (more) is
    switched. `broker_agents`: ids that need a login while old and new run. `staying`: those that do when all is done.
    `restart`: whether all that is switched restarts, since the broker does; `served`: who runs already and would have to restart
    if the broker then went back, and `stay`: whether it did, so that they restart on the releases that they have.
    """
    answers = {host: _answer(staged.get(host)) for host in hosts}
    problems = {host: answer["problem"] for host, answer in answers.items() if answer.get("problem")}
    refused = [(host, name) for host, answer in answers.items() for name in answer.get("refused", ())]
    present = {one for answer in answers.values() for one in answer.get("ids", ())}
    orphans = {one for answer in answers.values() for one in (answer.get("orphans") or {}).values()}
    base = _bases(plan)
    broker = {host: answer["broker"] for host, answer in answers.items() if answer.get("broker")}
    restart = any(one["restarts"] for one in broker.values())
    todo = {host: _todo(plan, host, answer, restart) for host, answer in answers.items()}
    policies = {name: Policy(**policy) for name, policy in plan["rollouts"].items()}
    default = Policy(**plan["rollout"])
    staying = sorted({*plan["ids"], *orphans})
    return {
        "hosts": list(hosts),
        "waves": _with_retirements(_waves(todo, base, policies, default), plan, answers),
        "outcomes": [],
        "problems": problems,
        "stop": f"{len(refused)} refused, so nothing was switched" if refused else "",
        "broker": any(one["pending"] or one["missing_packages"] for one in broker.values()),
        "broker_agents": sorted({*plan["ids"], *present}),
        "staying": staying,
        "leaving": sorted(present - set(staying)),
        "restart": restart,
        "served": _running(plan, answers) if restart else {},
        "stay": False,
        "held": [
            {"name": name, "since": one.get("since", "?"), "note": one.get("note", ""), "host": host}
            for host, answer in answers.items()
            for name, one in (answer.get("held") or {}).items()
        ],
        "agents": sum(len(answer.get("here", ())) for answer in answers.values()),
        "back": {},
        "retired": [],
        "moved": {},
        "come_back": {},
        "in_doubt": {},
        "settled": not problems and not refused,
        "base": base,
        "policy": plan["rollout"],
        "policies": plan["rollouts"],
        "rotation": plan.get("rotation", False),
    }


def _todo(plan: Mapping[str, Any], host: str, answer: Mapping[str, Any], restart: bool) -> list[str]:
    """The agents that are switched on a host: those that differ and, where the broker restarts, all that it serves: one that
    reconnects may have lost its subscription, and be available and deaf.
    """
    pending = list(answer.get("pending", ()))
    if not restart or "here" not in answer:
        return pending
    return pending + [
        name for name in _served(plan, host) if name not in pending and name not in answer.get("held", ())
    ]


def _running(plan: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """host → agents with a broker that run there already: not who is new or held, but who was about to move away."""
    served = {name for host in plan["hosts"] for name in _served(plan, host)}
    found = {}
    for host, answer in answers.items():
        new = {name for name, change in (answer.get("releases") or {}).items() if change["before"] is None}
        there = [*answer.get("here", ()), *answer.get("retire", ())]
        found[host] = [
            name
            for name in there
            if name in served and name not in new and name not in answer.get("held", ())
        ]
    return found


def _served(plan: Mapping[str, Any], host: str) -> list[str]:
    return [one["manifest"]["name"] for one in workloads_of(plan, host) if one["manifest"].get("mqtt")]


def _waves(
    todo: Mapping[str, Sequence[str]],
    base: Mapping[str, str],
    policies: Mapping[str, Policy],
    default: Policy,
) -> list[dict[str, list[str]]]:
    keys = {host: [base[name] for name in names] for host, names in todo.items()}
    return _named(waves(keys, policies, default), todo, base)


class NoSuchRelease(Exception):
    """What a person asked to roll back cannot be: an unknown agent or release, or nothing to go back to."""


def begin_rollback(
    hosts: Sequence[str], found: Mapping[str, Mapping[str, Any]], names: Sequence[str], release: str
) -> Course:
    """A rollback of the named agents as a course of one wave; `targets`: host → agent → the release to go back to.

    `found`: host → what is there: `agents`, each with name, base, agent_id and its `releases`. `release` is an id or how it
    begins, "" the previous proven one of each. Raises NoSuchRelease, and then no host is touched.
    """
    problems = {host: _problem(found.get(host)) for host in hosts if "agents" not in (found.get(host) or {})}
    there = [(host, one) for host in hosts if host not in problems for one in found[host]["agents"]]
    known = sorted({word for _host, one in there for word in _names(one)})
    unknown = [name for name in names if name not in known and name != "all"]
    if unknown:
        silent = "".join(f"; {host} did not tell: {_without(host, one)}" for host, one in problems.items())
        where = "the hosts that answered" if problems else "these hosts"
        raise NoSuchRelease(
            f"no agent {', '.join(unknown)} on {where}; there are {', '.join(known) or 'none'}{silent}"
        )
    chosen = [(host, one) for host, one in there if "all" in names or set(names) & set(_names(one))]
    targets: dict[str, dict[str, str]] = {}
    refusals = []
    for host, one in chosen:
        target = _target(one["releases"], release)
        if target is not None:
            targets.setdefault(host, {})[one["name"]] = target
        elif not release:
            refusals.append(f"{one['name']} on {host} has no proven release to go back to; {_listed(one)}")
    if release and not targets:
        refusals = [
            f"{one['name']} on {host} has no release {release!r} to go back to; {_listed(one)}"
            for host, one in chosen
        ]
    if refusals:
        raise NoSuchRelease("nothing was changed:\n" + "\n".join(refusals))
    return {
        "hosts": list(hosts),
        "waves": [{"switch": {host: list(found) for host, found in targets.items()}, "retire": {}}],
        "targets": targets,
        "outcomes": [],
        "problems": problems,
        "stop": "",
        "held": [],
        "agents": len(chosen),
        "back": {},
        "retired": [],
        "moved": {},
        "come_back": {},
        "in_doubt": {},
        "settled": not problems,
        "base": {one["name"]: one["base"] for _host, one in chosen},
        "policy": {"max_failed": len(hosts)},
        "policies": {},
    }


def _names(agent: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(agent[key] for key in ("name", "base", "agent_id") if agent[key])


def _target(releases: Sequence[Mapping[str, Any]], release: str) -> str | None:
    """The one that is meant and is not current already; None where there is none, or more than one."""
    found = [
        one["release"]
        for one in releases
        if not one["current"] and (one["release"].startswith(release) if release else one["previous"])
    ]
    return found[0] if len(found) == 1 else None


def _listed(agent: Mapping[str, Any]) -> str:
    words = [
        f"{one['release']} ({', '.join([word for word in ('current', 'proven') if one[word]] + ['staged ' + one['staged_at']])})"
        for one in agent["releases"]
    ]
    return f"there are {', '.join(words)}" if words else "there is none at all"


def _problem(result: Mapping[str, Any] | None) -> dict[str, str]:
    return dict((result or {}).get("problem") or NO_ANSWER)


def _answer(result: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return result if result and "here" in result else {"problem": _problem(result)}


def _bases(plan: Mapping[str, Any]) -> dict[str, str]:
    """Every planned agent's name → its key in the fleet."""
    return {
        one["manifest"]["name"]: one["manifest"]["base"]
        for host in plan["hosts"]
        for one in workloads_of(plan, host)
    }


def _named(
    order: Iterable[Mapping[str, Sequence[str]]],
    todo: Mapping[str, Sequence[str]],
    base: Mapping[str, str],
) -> list[dict[str, list[str]]]:
    """Waves of agents' names instead of their keys in the fleet, of which a host may run several instances."""
    return [
        {host: [name for name in todo[host] if base[name] in keys] for host, keys in wave.items()}
        for wave in order
    ]


def _with_retirements(
    switches: Sequence[Mapping[str, list[str]]],
    plan: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """An agent that moves stops on its old host in the wave in which it starts on the new one, and not before (`moves`: where
    it starts). Where its new host could not stage it, it stays. What belongs nowhere any more goes at once.
    """
    homes = {one["manifest"]["name"]: host for host in plan["hosts"] for one in workloads_of(plan, host)}
    found: list[dict[str, Any]] = [{"switch": dict(wave), "retire": {}, "moves": {}} for wave in switches]
    for host, answer in answers.items():
        for name in answer.get("retire", ()):
            if name in homes and name not in answers.get(homes[name], {}).get("here", ()):
                continue
            home = homes.get(name, "")
            index = next((n for n, wave in enumerate(switches) if name in wave.get(home, ())), None)
            if not found:
                found.append({"switch": {}, "retire": {}, "moves": {}})
            found[index or 0]["retire"].setdefault(host, []).append(name)
            if index is not None:
                found[index]["moves"].setdefault(host, {})[name] = home
    return found


def stranded(course: Course, staged: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(host, agent) that should leave its host and stays, because the one where it belongs could not stage it."""
    going = {
        (host, name) for wave in course["waves"] for host, names in wave["retire"].items() for name in names
    }
    return sorted(
        (host, name)
        for host, result in staged.items()
        for name in (result or {}).get("retire") or ()
        if (host, name) not in going
    )


def over(course: Course, waves_done: int = 0) -> bool:
    """Nothing left to do, and nothing wrong: the course can end here."""
    todo = course["waves"][waves_done:] or course.get("leaving") or (course.get("broker") and not waves_done)
    todo = todo or course["moved"] or course["come_back"]  # who is in doubt comes with a problem
    wrong = course["problems"] or course["stop"] or not all(map(went_well, course["outcomes"]))
    return not (todo or wrong)


def without_the_unstopped(course: Course, index: int, retired: Mapping[str, Mapping[str, Any]]) -> Course:
    """Wave `index` without the agents that were to move in it, and of which their old hosts did not say that they stopped.

    One id never runs twice; so they stay `untried`. `retired`: host → what came of stopping there.
    """
    wave = course["waves"][index]
    left = {
        (home, name): host
        for host, homes in wave["moves"].items()
        for name, home in homes.items()
        if name not in (retired.get(host, {}).get("moving") or ())
    }
    if not left:
        return course
    kept = {
        host: [name for name in names if (host, name) not in left] for host, names in wave["switch"].items()
    }
    switch = {host: names for host, names in kept.items() if names}
    untried = dict(course.get("untried", {}).get("hosts", {}))
    for home, name in left:
        untried[home] = [*untried.get(home, ()), name]
    hosts = sorted(set(left.values()))
    waves = [*course["waves"]]
    waves[index] = {**wave, "switch": switch}
    return {
        **course,
        "waves": waves,
        "problems": {**course["problems"], **{host: _problem(retired.get(host)) for host in hosts}},
        "untried": {"hosts": untried, "why": f"it may still run on {', '.join(hosts)}; deploy again"},
    }


def after_wave(
    course: Course,
    index: int,
    switched: Mapping[str, Mapping[str, Any]],
    retired: Mapping[str, Mapping[str, Any]],
) -> Course:
    """What came of wave `index`; host → the result of its switch, and of its retirements.

    `moved`: host → agents that are healthy on their new hosts; `come_back`: those that are not, and go on where they were;
    `in_doubt`: those of which that is not known. Sets `stop` where too much went wrong, and then `back`: host → agent → the
    release that it goes back to.
    """
    outcomes, problems = list(course["outcomes"]), dict(course["problems"])
    gone = [(host, name) for host, result in retired.items() for name in result.get("retired") or ()]
    problems.update({host: result["problem"] for host, result in retired.items() if result.get("problem")})
    switch = course["waves"][index]["switch"]
    for host, names in switch.items():
        result = switched.get(host) or {}
        found = [{"host": host, **one} for one in result.get("outcomes") or () if one["name"] in names]
        outcomes += found
        if result.get("problem") or "outcomes" not in result:
            problems[host] = result.get("problem") or NO_ANSWER
    base = course["base"]
    agents = [one for one in outcomes if one["name"] in base]  # and not the broker
    failed = [(one["host"], base[one["name"]]) for one in agents if not went_well(one)]
    told = {(one["host"], one["name"]) for one in outcomes}
    tried = [pair for wave in course["waves"][: index + 1] for pair in _pairs(wave["switch"])]
    lost = [(host, base[name]) for host, name in tried if host in problems and (host, name) not in told]
    policies, default = _policies(course)
    stop = course["stop"] or exceeded([*failed, *lost], policies, default)
    back: dict[str, dict[str, str]] = {}
    for one in agents if stop else ():
        policy = policies.get(base[one["name"]], default)
        if policy.revert_switched and one["result"] == RELEASED and one["before"] not in (None, one["after"]):
            back.setdefault(one["host"], {})[one["name"]] = one["before"]
    return {
        **course,
        "outcomes": outcomes,
        "problems": problems,
        **_after_moves(course, index, outcomes, retired),
        "retired": [*course["retired"], *gone],
        "settled": not problems and not stop and all(map(went_well, outcomes)),
        "stop": stop,
        "back": back,
    }


def _after_moves(
    course: Course,
    index: int,
    outcomes: Iterable[Mapping[str, Any]],
    retired: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, list[str]]]:
    """`moved`, `come_back` and `in_doubt` after wave `index`. One id never runs twice: an agent comes back only where its new
    host has said that nothing of it runs there.
    """
    sides = {"moved": (RELEASED, UNCHANGED), "come_back": (REMOVED, REFUSED)}
    found = {side: {**course[side]} for side in (*sides, "in_doubt")}
    results = {(one["host"], one["name"]): one["result"] for one in outcomes}
    for host, result in retired.items():
        homes = course["waves"][index]["moves"].get(host, {})
        for name in result.get("moving") or ():
            there = results.get((homes[name], name))
            side = next((side for side, words in sides.items() if there in words), "in_doubt")
            found[side][host] = [*found[side].get(host, ()), name]
    return found


def _policies(course: Course) -> tuple[dict[str, Policy], Policy]:
    return {name: Policy(**one) for name, one in course["policies"].items()}, Policy(**course["policy"])


def after_broker(course: Course, results: Mapping[str, Mapping[str, Any]]) -> Course:
    """What came of the broker; host → the last result of its role. Nothing is switched on a broker that is not as planned.

    Where it restarted and went back, which is two restarts, what it serves restarts all the same, on the releases of before.
    """
    outcomes, problems = list(course["outcomes"]), dict(course["problems"])
    for host, result in results.items():
        found = [{"host": host, **one} for one in result.get("outcomes") or ()]
        outcomes += found
        if result.get("unreachable"):
            problems[host] = {"kind": UNREACHABLE, "msg": f"{host}: {result.get('msg')}"}
        elif result.get("failed") and all(map(went_well, found)):
            problems[host] = {"kind": FAILED, "msg": str(result.get("msg"))}
    bad = [host for host, result in results.items() if result.get("failed") or result.get("unreachable")]
    stop = course["stop"] or (f"the broker on {bad[0]} is not as planned" if bad else "")
    if any(one["result"] == REVERTED for one in outcomes) and any(course["served"].values()):
        policies, default = _policies(course)
        order = _waves(course["served"], course["base"], policies, default)
        return {
            **course,
            "outcomes": outcomes,
            "problems": problems,
            "settled": False,
            "stay": True,
            "stop": "",
            "waves": [{"switch": wave, "retire": {}, "moves": {}} for wave in order],
            "untried": {"hosts": _left_out(course), "why": stop},
        }
    return {
        **course,
        "outcomes": outcomes,
        "problems": problems,
        "stop": stop,
        "settled": course["settled"] and not stop,
    }


def _left_out(course: Course) -> dict[str, list[str]]:
    """Who was to be switched, and does not even restart."""
    found: dict[str, list[str]] = {}
    for wave in course["waves"]:
        for host, name in _pairs(wave["switch"]):
            if name not in course["served"].get(host, ()):
                found.setdefault(host, []).append(name)
    return found


def pause_before(course: Course, index: int) -> float:
    """Seconds to wait before wave `index` (from 0): the longest that an agent in it asks for."""
    if index == 0 or index >= len(course["waves"]) or course["stop"]:
        return 0.0
    policies, default = _policies(course)
    names = {course["base"][name] for found in course["waves"][index]["switch"].values() for name in found}
    return max((policies.get(name, default).pause for name in names), default=0.0)


def finished(
    course: Course,
    went_back: Mapping[str, Mapping[str, Any]],
    came_back: Mapping[str, Mapping[str, Any]],
    let_go: Mapping[str, Mapping[str, Any]],
    check_mode: bool,
) -> Course:
    """The course at its end, with `counts` by word, `text` for people, and `verdicts`: host → {kind, msg} of those that fail.

    `went_back`: host → the result of taking back what it had switched; `came_back`: of letting go on what could not move;
    `let_go`: of removing what runs elsewhere now.
    """
    outcomes = [*course["outcomes"]]
    problems = dict(course["problems"])
    for host in course["back"]:
        result = went_back.get(host) or {}
        if result.get("problem"):
            problems[host] = result["problem"]
        found = {one["name"]: one for one in result.get("outcomes") or ()}
        earlier = {one["name"]: one for one in outcomes if one["host"] == host}
        outcomes = [one for one in outcomes if one["host"] != host or one["name"] not in found]
        outcomes += [
            {"host": host, **_taken_back(one, earlier[name], course["stop"])} for name, one in found.items()
        ]
    rows = [*map(_row, outcomes)]
    problems.update({host: one["problem"] for host, one in let_go.items() if one.get("problem")})
    gone = [pair for pair in _pairs(course["moved"]) if pair[0] not in problems]
    rows += [(host, name, "retired", "-", "moved away") for host, name in [*course["retired"], *gone]]
    rows += _stay(course, came_back, problems)
    rows += [
        (host, name, "not tried", "-", course["stop"])
        for wave in course["waves"]
        for host, names in wave["switch"].items()
        for name in names
        if host not in problems and (host, name) not in {(one["host"], one["name"]) for one in outcomes}
    ]
    untried = course.get("untried", {"hosts": {}, "why": ""})
    rows += [(host, name, "not tried", "-", untried["why"]) for host, name in _pairs(untried["hosts"])]
    rows += [(host, "-", one["kind"], "-", _without(host, one)) for host, one in sorted(problems.items())]
    rows += [(one["host"], one["name"], "held", "-", _hold(one)) for one in course["held"]]
    counts = _counts(course, outcomes, problems)
    verdicts = _verdicts(outcomes, problems)
    return {
        **course,
        "outcomes": outcomes,
        "problems": problems,
        "counts": counts,
        "verdicts": verdicts,
        "text": ("check mode, nothing was done\n" if check_mode else "") + _text(rows, counts, course),
    }


def _pairs(agents: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    return [(host, name) for host, names in agents.items() for name in names]


def _stay(
    course: Course, came_back: Mapping[str, Mapping[str, Any]], problems: dict[str, Any]
) -> list[tuple[str, ...]]:
    """Rows for agents that did not move; where one does not go on either, that is a problem of its host."""
    rows = []
    for host, name in _pairs(course["come_back"]):
        result = came_back.get(host) or {}
        ready = name in (result.get("unheld") or ()) and name not in (result.get("unready") or {})
        rows.append(
            (host, name, "stays", "-", f"could not move; {'healthy' if ready else 'not ready'} here again")
        )
        if result.get("problem") or not ready:
            msg = f"{host}: {name} could not move, and does not go on here"
            problems.setdefault(host, result.get("problem") or {"kind": FAILED, "msg": msg})
    doubt = "stopped here, and nobody knows whether it runs where it moves to; deploy again"
    return [*rows, *((host, name, "held", "-", doubt) for host, name in _pairs(course["in_doubt"]))]


def _taken_back(outcome: Mapping[str, Any], earlier: Mapping[str, Any], why: str) -> dict[str, Any]:
    """A rollback that went well is, seen from the rollout, a release that was reverted: for what was wrong with it, or because of
    others. `earlier`: what had become of it before that."""
    if outcome["result"] != RELEASED:
        return dict(outcome)
    seen = {"before": outcome["after"], "tried": outcome["before"]}
    if went_well(earlier):
        return {**outcome, **seen, "result": REVERTED, "phase": "revert", "reason": f"was taken back: {why}"}
    kept = {name: earlier[name] for name in ("phase", "reason", "log", "warnings") if name in earlier}
    return {**outcome, **seen, "result": REVERTED, **kept}


def _word(outcome: Mapping[str, Any]) -> str:
    return "failed" if outcome["result"] == RELEASED and not went_well(outcome) else WORDS[outcome["result"]]


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = (short(one[word]) for word in ("before", "after"))
    releases = f"{before} -> {after}" if before != after else f"stays {before}"
    wrong = _first_line(one["reason"] or "; ".join(one.get("warnings") or ()))
    phase = f"{one['phase']}: " if wrong and one.get("phase") else ""
    return one["host"], one["name"], _word(one), releases, phase + (wrong or one.get("why", ""))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _without(host: str, problem: Mapping[str, str]) -> str:
    """What is wrong there, in one line that does not name the host again."""
    return _first_line(problem["msg"]).removeprefix(f"{host}: ")


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]


def _hold(one: Mapping[str, Any]) -> str:
    return f"since {one['since']}" + (f": {one['note']}" if one["note"] else "")


def _counts(
    course: Course, outcomes: Sequence[Mapping[str, Any]], problems: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Of agents; `unreachable` counts hosts, for nobody knows what runs there."""
    words = Counter(_word(one) for one in outcomes if one["name"] != BROKER)
    kinds = Counter(UNREACHABLE if one["kind"] == UNREACHABLE else FAILED for one in problems.values())
    pending = {
        (host, name) for wave in course["waves"] for host, names in wave["switch"].items() for name in names
    }
    named = {name for _host, name in pending}  # one that was about to move is counted where it restarted
    untried = course.get("untried", {"hosts": {}})["hosts"]
    pending.update(pair for pair in _pairs(untried) if pair[1] not in named)
    return {
        "changed": words["changed"],
        "unchanged": course["agents"] - len(pending) - len(course["held"]),
        "reverted": words["reverted"],
        "failed": words["failed"] + kinds[FAILED],
        "unreachable": kinds[UNREACHABLE],
    }


def _verdicts(
    outcomes: Sequence[Mapping[str, Any]], problems: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    verdicts = {host: {"kind": one["kind"], "msg": one["msg"]} for host, one in problems.items()}
    for one in outcomes:
        if not went_well(one):
            said = verdicts.setdefault(one["host"], {"kind": FAILED, "msg": ""})
            said["msg"] = "\n".join(filter(None, [said["msg"], sentence(one)]))
    return verdicts


def _text(rows: Sequence[tuple[str, ...]], counts: Mapping[str, int], course: Course) -> str:
    lines = [table(("HOST", "AGENT", "RESULT", "RELEASE", "WHY"), rows), ""] if rows else []
    total = ", ".join(f"{counts[word]} {word}" for word in COUNTED)
    if not rows and not any(counts[word] for word in COUNTED if word != "unchanged"):
        where = f"{_counted(counts['unchanged'], 'agent')} on {_counted(len(course['hosts']), 'host')}"
        if course.get("rotation"):
            return f"nothing to rotate: {where}, with the secrets of today"
        return f"nothing to change: {where}, as planned"
    return "\n".join([*lines, total + (f"; {len(course['held'])} held" if course["held"] else "")])
