# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every kind of finding that is not of one format alone, with the text of its section in `docs/diagnostics.md`.

Codes never change their meaning and are never used again: people silence them by number.
MA1xx a file cannot be read · MA2xx a value does not fit the schema · MA3xx secrets, placeholders, versions ·
MA4xx the fleet · from MA5xx on, one hundred for each format, in its own reader.
"""

from __future__ import annotations

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import ERROR, HINT, WARNING, Code

FILES = (
    Code(
        "MA101",
        ERROR,
        "cannot be opened",
        "The file is missing, is a folder where a file is expected (or the reverse), may not be read, or its links lead in"
        " a circle. The message has the system's reason.",
    ),
    Code(
        "MA102",
        ERROR,
        "is not a text",
        "An agent config is UTF-8 text of at most 1 MiB. Binary files, other encodings and larger files are not opened"
        " further. Save the file as UTF-8.",
    ),
    Code(
        "MA103",
        ERROR,
        "is not valid TOML, YAML or JSON",
        "The file cannot be parsed; the place is where the parser stopped. Nothing behind it was checked.",
    ),
    Code(
        "MA104",
        ERROR,
        "is nested too deeply or expands too far",
        "More than 64 levels, or more than 200,000 values once aliases are expanded. No config that a person wrote looks"
        " like this; YAML bombs do.",
    ),
    Code(
        "MA105",
        ERROR,
        "has a key twice",
        "One of the two values is lost without a word, and which one depends on the program. Keep one.",
    ),
    Code(
        "MA106",
        ERROR,
        "has a YAML tag or alias that is refused",
        "Tags such as `!!python/object` ask the reader to run code or to make something that is not data. Recursive"
        " aliases have no value. Write the plain value.",
    ),
    Code(
        "MA107",
        ERROR,
        "is no agent config that is known",
        "The content fits none of the formats. If it is one of them all the same, say which: `format:` in the fleet, or the"
        " module's option `format`. A format of your own is named by `config_schema` of its runtime.",
    ),
    Code(
        "MA108",
        ERROR,
        "names a file that is not there",
        "The config consists of several files, and one is missing. The path counts from the file that names it.",
    ),
    Code(
        "MA109",
        WARNING,
        "is not strict JSON",
        "JSON has neither comments nor trailing commas nor a byte order mark. They are read here, because published examples"
        " hold them; a program that reads the file strictly refuses it.",
    ),
    Code("MA110", ERROR, "is empty", "The file holds nothing, or comments only."),
    Code(
        "MA111",
        ERROR,
        "holds no agent config",
        "No file in the folder (or below it) was recognised as an agent config.",
    ),
    Code(
        "MA112",
        ERROR,
        "includes itself",
        "A file names another, which leads back to the first. Break the circle.",
    ),
)

VALUES = (
    Code(
        "MA201",
        WARNING,
        "is a key that the program does not know",
        "The program ignores it without a word, so a misspelt setting silently has its default. Where a real key has nearly"
        " this name, the finding says which; where that key is required, it is an error.",
    ),
    Code("MA202", ERROR, "is missing", "The program does not start without this key."),
    Code(
        "MA203",
        ERROR,
        "has the wrong type",
        "The program refuses the config: a number in quotes is a string, and a list is not a single value.",
    ),
    Code(
        "MA204", ERROR, "is out of range", "The number is outside of what the program or the provider takes."
    ),
    Code("MA205", ERROR, "is not one of the possible values", "The message lists them."),
    Code("MA206", ERROR, "does not have the right form", "The message says what the text must look like."),
    Code("MA207", ERROR, "has the wrong length", "Most often: it is empty, and must not be."),
    Code("MA208", ERROR, "does not fit", "The value breaks a rule of the schema; the message says which."),
)

CONTENT = (
    Code(
        "MA301",
        ERROR,
        "is a literal secret",
        "A key, password or token stands in the config itself. Configs are committed, copied and shown; secrets belong in"
        " `agent_secrets` in the vault, and the config names the variable in an `*_env` field. The value is never repeated"
        " in the message. A key that was committed is known to others: replace it at the provider.",
    ),
    Code(
        "MA302",
        ERROR,
        "would put a secret into the config",
        "`${NAME}` is replaced by the value before the config is stored on the host; for a secret that would write it into"
        " a release. Name the variable in an `*_env` field instead, and the agent reads it from its environment.",
    ),
    Code(
        "MA303",
        ERROR,
        "is a placeholder that nothing gives a value",
        "No program of these expands `${NAME}` by itself; the deploy does, from `fleet.<agent>.environment`, the runtime's"
        " environment and what is derived (`MQTT_BROKER_URL`, `AGENT_NAME`, `AGENT_PORT`, `HEALTH_PORT`, `LOG_LEVEL`,"
        " `LOG_FORMAT`). Set it in the fleet, or write a default: `${NAME:-value}`. Without an inventory nothing is known"
        " of the fleet's environment, and the finding is a hint.",
    ),
    Code(
        "MA304",
        HINT,
        "looks like a placeholder in a prompt",
        "Prompts are never touched: they may teach shell. If it was meant to be replaced, move the value into a setting.",
    ),
    Code(
        "MA305",
        WARNING,
        "is no version of the form MAJOR.MINOR.PATCH",
        "Without it, a downgrade or a major change cannot be told when the config is deployed.",
    ),
    Code(
        "MA306",
        ERROR,
        "must be the name of a variable",
        "A field that ends in `_env` holds the name of an environment variable, such as `OPENAI_API_KEY`, never the value."
        " What stands there may be the secret itself, so it is not repeated.",
    ),
    Code(
        "MA307",
        WARNING,
        "is a downgrade",
        "The version that is deployed is higher than the one in the config. One that went back by accident is worth a"
        " look.",
    ),
    Code(
        "MA308",
        WARNING,
        "is a major change",
        "By the rules of semantic versioning the new config is not compatible with the one that is deployed.",
    ),
)

FLEET = (
    Code("MA401", ERROR, "is not a valid fleet", "The variable `fleet` maps agents' names to their entries."),
    Code(
        "MA402",
        ERROR,
        "is not a key of a fleet entry",
        "A misspelt key would be ignored without a word. The message lists the known ones.",
    ),
    Code(
        "MA403",
        ERROR,
        "does not fit",
        "A value of the fleet has the wrong type or range; the message says what fits.",
    ),
    Code(
        "MA404",
        ERROR,
        "is an agent that the fleet does not have",
        "`-e agent=` takes fleet keys, file names without their ending, or agent ids; the message lists the known ones.",
    ),
    Code(
        "MA405",
        ERROR,
        "is not a runtime that is defined",
        "Define it in `agent_runtimes`, or correct its name.",
    ),
    Code(
        "MA406",
        ERROR,
        "is not a valid runtime",
        "A value in `agent_runtimes` does not fit; the message says what does.",
    ),
    Code(
        "MA407",
        ERROR,
        "matches no host",
        "The pool of an agent is a host pattern over the whole inventory. Correct the pattern, or add the host.",
    ),
    Code(
        "MA408",
        ERROR,
        "is an agent id used twice",
        "Two processes with one id both get every task, and the last will of one marks the other as gone.",
    ),
    Code(
        "MA409",
        ERROR,
        "is a port used twice",
        "Of two agents on one port of one host, the second lives on without its health server, and a probe reaches the"
        " other agent. Leave `port` out and each gets its own.",
    ),
    Code(
        "MA410",
        ERROR,
        "needs an agent that the fleet does not have",
        "A required dependency names an agent by fleet key, id or component name, and none has it.",
    ),
    Code(
        "MA411",
        HINT,
        "could use an agent that the fleet does not have",
        "An optional dependency is absent; the agent works without it.",
    ),
    Code(
        "MA412",
        ERROR,
        "is part of a circle of required dependencies",
        "None of them could ever start first. Make one of the dependencies optional.",
    ),
    Code(
        "MA413",
        WARNING,
        "is part of a circle of dependencies",
        "At least one of them is optional, so they can start; at their first moments one runs without the other.",
    ),
    Code(
        "MA414",
        ERROR,
        "hands work to an agent that the fleet does not have",
        "A route or `next` names an id that no agent of the fleet has: the task would wait at the broker for ever.",
    ),
    Code(
        "MA415",
        ERROR,
        "needs a secret that the vault does not have",
        "The config names a variable, and `agent_secrets` has no such key; or the key of the broker's"
        " passwords, `fleet_credentials_key`, is missing.",
    ),
    Code(
        "MA416",
        WARNING,
        "is a secret that no agent uses",
        "It can be removed from `agent_secrets`, or an agent misspells its name.",
    ),
    Code(
        "MA417",
        ERROR,
        "asks for more memory than its host has",
        "The hosts' variable `agent_host_memory` declares what may be used there. An agent's limit, or all agents' requests"
        " together, are above it.",
    ),
    Code(
        "MA418",
        WARNING,
        "may use more memory than its host has",
        "The limits of all agents on the host together are above `agent_host_memory`. That is no mistake as long as they do"
        " not all reach their limits at once.",
    ),
    Code(
        "MA419",
        ERROR,
        "cannot run twice",
        "More than one instance of something of which one host or fleet can hold only one: the config fixes a port, or"
        " the runtime says `single: true`.",
    ),
    Code(
        "MA420",
        ERROR,
        "cannot autoscale",
        "On machines, the number of instances is fixed by the fleet. Set `fleet.<agent>.instances`.",
    ),
    Code(
        "MA421",
        ERROR,
        "is not a valid entry of fleet_silence",
        "A code is silenced with a reason: `fleet_silence: {MA201: why this is meant}`, for all agents, or `silence:` in one"
        " agent's entry. What keeps a file from being read (errors of MA1xx) and literal secrets (MA301) cannot be silenced.",
    ),
    Code(
        "MA422",
        ERROR,
        "needs a name and a password for the broker",
        "The broker lets nobody in without a name. Name variables in `mqtt.username_env` and `mqtt.password_env`; their"
        " values are derived, or taken from the vault where it has them.",
    ),
    Code(
        "MA423",
        ERROR,
        "has a file that cannot be used",
        "A template or an artifact that the fleet names cannot be read or rendered.",
    ),
    Code(
        "MA424",
        HINT,
        "asks for another number of instances than the fleet",
        "The config's own `replicas` is not used: `fleet.<agent>.instances` decides.",
    ),
    Code(
        "MA425",
        ERROR,
        "has files in a folder below its config",
        "On the systemd target a config's files reach the agent as the unit's credentials, which have no folders.",
    ),
    Code(
        "MA426",
        ERROR,
        "cannot be filled in where it stands",
        "A placeholder or the id of an instance has to be written into the file, and its notation does not let that be done"
        " without changing something else, as where a YAML anchor is used at another place too. Write the value twice.",
    ),
    Code(
        "MA427",
        ERROR,
        "is a config that its runtime cannot read",
        "The runtime's `config_schema` says what it reads, and the config is something else. Choose another `runtime`, or"
        " another config.",
    ),
    Code(
        "MA430",
        ERROR,
        "has a broker whose certificate cannot be used",
        "Agents would refuse the broker, so nothing is switched. The message says which file it is and what to do;"
        " `docs/broker.md` has more.",
    ),
)

GENERAL = (*FILES, *VALUES, *CONTENT, *FLEET)
