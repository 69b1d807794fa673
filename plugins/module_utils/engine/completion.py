# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Completion for shells, written from the command line's own options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .options import parser

# Where bash-completion looks by itself.
BASH_FILE = "/usr/local/share/bash-completion/completions/muster"
_OF_RELEASES = ("--to", "--release")
_SCRIPT = """# Completion for muster; made by `muster completion bash`.
_muster() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command= name= seen=0 index
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
            @TAKING@) ((index++)) ;;
            -*) ;;
            *)
                [[ -n $command && -z $name ]] && name=${COMP_WORDS[index]}
                [[ -z $command ]] && command=${COMP_WORDS[index]} || ((seen++))
                ;;
        esac
    done
    local words=
    case $before in
        @RELEASES@) words=$(muster _releases "$name" 2>/dev/null) ;;
        @TAKING@) ;;
        *)
            case $command/$word in
                /-*) words="--help --version" ;;
                /*) words="@COMMANDS@" ;;
@OPTIONS@
                completion/*) words="bash zsh" ;;
                diff/*)
                    if ((seen)); then
                        words=$(muster _releases "$name" 2>/dev/null)
                    else
                        words=$(muster _names 2>/dev/null)
                    fi
                    ;;
                @NAMING@) words=$(muster _names 2>/dev/null) ;;
            esac
            ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _muster muster
"""
_ZSH = """#compdef muster
autoload -U +X bashcompinit && bashcompinit
"""


def bash() -> str:
    commands = dict(_commands())
    taking = sorted({word for one in commands.values() for word in _options(one, taking=True)})
    naming = [name for name, one in commands.items() if {"names", "name"} & _positionals(one)]
    options = [
        f'                {name}/-*) words="{" ".join(_options(one))}" ;;' for name, one in commands.items()
    ]
    parts = {
        "@COMMANDS@": " ".join(commands),
        "@OPTIONS@": "\n".join(options),
        "@NAMING@": " | ".join(f"{name}/*" for name in naming if name != "diff"),
        "@RELEASES@": " | ".join(_OF_RELEASES),
        "@TAKING@": " | ".join(taking),
    }
    text = _SCRIPT
    for word, value in parts.items():
        text = text.replace(word, value)
    return text


def zsh() -> str:
    """The same, by zsh's own emulation of bash's completion."""
    return _ZSH + bash()


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Those that the help lists."""
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._get_subactions():
                yield listed.dest, action.choices[listed.dest]


def _options(one: argparse.ArgumentParser, taking: bool = False) -> list[str]:
    """Options of a command; only those that take a value where `taking`."""
    return [
        word
        for action in one._actions
        for word in action.option_strings
        if not taking or (action.nargs is None and action.const is None and action.metavar)
    ]


def _positionals(one: argparse.ArgumentParser) -> set[str]:
    return {action.dest for action in one._actions if not action.option_strings}
