# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bridges: what our broker passes on to another one, and takes from it. As people write them, and as Mosquitto 2.0 reads them.

Mosquitto takes a bridge's password from its configuration only, so the rendered lines with passwords are a secret, and the
release has them without.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import (
    Diagnostic,
    did_you_mean,
    fleet_error,
)

VARIABLE = "mosquitto_bridges"
PASSWORDS = "broker_bridge_passwords"
HOST_AUTHORITIES = "/etc/ssl/certs"
_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_DIRECTIONS = ("in", "out", "both")
_KEYS = ("address", "port", "topics", "username", "tls", "ca", "options")
_TOPIC_KEYS = ("topic", "direction", "qos", "local_prefix", "remote_prefix")
_TLS_PORT, _PLAIN_PORT = 8883, 1883
_EXAMPLE = "{cloud: {address: mqtt.example.com, topics: [{topic: '/conversations/#', direction: out}]}}"
# Mosquitto 2.0's own words for the rest of a bridge.
_OPTIONS = (
    "bridge_alpn",
    "bridge_attempt_unsubscribe",
    "bridge_bind_address",
    "bridge_max_packet_size",
    "bridge_outgoing_retain",
    "bridge_protocol_version",
    "bridge_require_ocsp",
    "bridge_tls_version",
    "cleansession",
    "idle_timeout",
    "keepalive_interval",
    "local_cleansession",
    "local_clientid",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "remote_clientid",
    "restart_timeout",
    "start_type",
    "threshold",
    "try_private",
)
# What people find in Mosquitto's manual, and what to write here.
_INSTEAD = {
    "address": "write address and port beside options",
    "addresses": "write one address, and port, beside options",
    "topic": "write topics beside options",
    "remote_username": "write username beside options",
    "remote_password": f"put the password into the vault, as {PASSWORDS}",
    "bridge_cafile": "write ca, a file on the controller, beside options",
    "bridge_capath": "leave it out: without ca, what the broker's host trusts counts",
    "bridge_insecure": "leave it out, set address to a name that the other broker's certificate has, and ca to its CA",
    "bridge_certfile": "leave it out: a bridge logs in with a password",
    "bridge_keyfile": "leave it out: a bridge logs in with a password",
}


@dataclass(frozen=True)
class Topic:
    """Which topics pass, and how they are called on either side: `pattern` with a prefix. `direction` is ours."""

    pattern: str
    direction: str
    qos: int = 1
    local_prefix: str = ""
    remote_prefix: str = ""


@dataclass(frozen=True)
class Bridge:
    """One connection to another broker. `ca`: a file on the controller; "" where the broker's host trusts the other's CA already.
    `options`: Mosquitto's own names and values.
    """

    name: str
    address: str
    port: int
    topics: tuple[Topic, ...]
    username: str = ""
    tls: bool = True
    ca: str = ""
    options: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Link:
    """A bridge with what lies beside it on the controller: its password, "" for none, and its CA as PEM."""

    bridge: Bridge
    password: str = ""
    ca: str = ""


def ca_file(bridge: Bridge) -> str:
    """Where its CA lies on the broker's host."""
    return f"/etc/mosquitto/muster-bridge-{bridge.name}.crt"


def render(links: Iterable[Link], last: Callable[[Link], Sequence[str]]) -> str:
    """Lines for ``/etc/mosquitto/conf.d/``; `last` are further ones of each bridge, such as its password."""
    return "".join(f"{line}\n" for link in links for line in (*_lines(link), *last(link), ""))


def password_lines(link: Link) -> list[str]:
    return [f"remote_password {link.password}"] if link.password else []


def _lines(link: Link) -> list[str]:
    bridge = link.bridge
    lines = [f"connection {bridge.name}", f"address {bridge.address}:{bridge.port}"]
    for one in bridge.topics:
        prefixes = " ".join(prefix or '""' for prefix in (one.local_prefix, one.remote_prefix))
        lines.append(f"topic {one.pattern} {one.direction} {one.qos} {prefixes}")
    if bridge.username:
        lines.append(f"remote_username {bridge.username}")
    if bridge.tls:
        lines.append(f"bridge_cafile {ca_file(bridge)}" if link.ca else f"bridge_capath {HOST_AUTHORITIES}")
    return lines + [f"{name} {value}" for name, value in sorted((bridge.options or {}).items())]


# --- as people write them -------------------------------------------------------------------------------------


def read_bridges(raw: object, problems: list[Diagnostic]) -> tuple[Bridge, ...]:
    """Every mistake is added to `problems`, with its place below `mosquitto_bridges`; a bridge with one is left out."""
    if not raw:
        return ()
    if not isinstance(raw, Mapping):
        problems.append(
            fleet_error("MA403", VARIABLE, f"must map names of bridges to what they are, as in {_EXAMPLE}")
        )
        return ()
    found = []
    for name, entry in sorted(raw.items(), key=lambda pair: str(pair[0])):
        reader = _Reader(f"{VARIABLE}.{name}")
        bridge = _bridge(str(name), entry, reader)
        problems += reader.problems
        if not reader.problems:
            found.append(bridge)
    return tuple(found)


class _Reader:
    """Collects what is wrong below one place."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[Diagnostic] = []

    def wrong(self, key: str, message: str, code: str = "MA403", hint: str | None = None) -> None:
        self.problems.append(fleet_error(code, f"{self.where}.{key}" if key else self.where, message, hint))

    def keys(self, entry: Mapping[Any, Any], known: Sequence[str], below: str = "") -> None:
        for key in entry:
            if key not in known:
                hint = did_you_mean(str(key), known)
                self.wrong(f"{below}{key}", f"unknown; known are {', '.join(known)}", "MA402", hint)

    def word(self, entry: Mapping[Any, Any], key: str, below: str = "") -> str:
        """A text without blanks, since Mosquitto ends it there; "" where it is not given or wrong."""
        value = entry.get(key)
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or not value.isprintable() or len(value.split()) != 1:
            self.wrong(f"{below}{key}", "must be one word, without blanks")
            return ""
        return value

    def number(
        self, entry: Mapping[Any, Any], key: str, default: int, numbers: range, below: str = ""
    ) -> int:
        value = entry.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value in numbers:
            return value
        self.wrong(f"{below}{key}", f"must be a whole number from {numbers[0]} to {numbers[-1]}")
        return default


def _bridge(name: str, entry: object, reader: _Reader) -> Bridge:
    if not _NAME.fullmatch(name):
        reader.wrong("", "a bridge's name has letters, digits, '.', '_' and '-' only")
    if not isinstance(entry, Mapping):
        reader.wrong("", f"must be a mapping, as in {_EXAMPLE}")
        entry = {}
    reader.keys(entry, _KEYS)
    tls = entry.get("tls", True)
    if not isinstance(tls, bool):
        reader.wrong("tls", "must be true or false")
    ca = entry.get("ca") or ""
    if not isinstance(ca, str):
        reader.wrong("ca", "must be the path of a file on the controller")
    elif ca and tls is False:
        reader.wrong("ca", "goes with TLS; take `tls: false` out, or this")
    return Bridge(
        name=name,
        address=_address(entry, reader),
        port=reader.number(entry, "port", _TLS_PORT if tls else _PLAIN_PORT, range(1, 65536)),
        topics=tuple(_topics(entry.get("topics"), reader)),
        username=reader.word(entry, "username"),
        tls=bool(tls),
        ca=str(ca),
        options=_options(entry.get("options"), reader),
    )


def _address(entry: Mapping[Any, Any], reader: _Reader) -> str:
    if not entry.get("address"):
        reader.wrong("address", "is missing; it is the other broker's host name or address")
        return ""
    address = reader.word(entry, "address")
    if "://" in address:
        reader.wrong(
            "address", "must be a host name or address, without a scheme; tls says whether it is encrypted"
        )
    elif ":" in address and not _is_ip(address):
        reader.wrong("address", "must be a host name or address; write the port as `port`")
    return address


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _topics(raw: object, reader: _Reader) -> Iterable[Topic]:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        reader.wrong("topics", "must be a list such as [{topic: '/conversations/#', direction: out}]")
        return
    for index, one in enumerate(raw):
        below = f"topics.{index}."
        if not isinstance(one, Mapping):
            reader.wrong(
                f"topics.{index}", "must be a mapping such as {topic: '/conversations/#', direction: out}"
            )
            continue
        reader.keys(one, _TOPIC_KEYS, below)
        pattern = reader.word(one, "topic", below)
        if not one.get("topic"):
            reader.wrong(f"{below}topic", "is missing; it is a topic, or a pattern with + and #")
        elif not _is_pattern(pattern):
            reader.wrong(f"{below}topic", "+ and # stand for whole levels, and # for the last ones")
        if one.get("direction") not in _DIRECTIONS:
            reader.wrong(
                f"{below}direction",
                "must be out (to the other broker), in (from it) or both",
            )
        prefixes = {side: reader.word(one, side, below) for side in ("local_prefix", "remote_prefix")}
        for side, prefix in prefixes.items():
            if set(prefix) & set("+#"):
                reader.wrong(f"{below}{side}", "is put before the topic as it is, and takes no + or #")
        yield Topic(
            pattern=pattern,
            direction=str(one.get("direction")),
            qos=reader.number(one, "qos", 1, range(3), below),
            **prefixes,
        )


def _is_pattern(text: str) -> bool:
    levels = text.split("/")
    return all(
        not set(level) & set("+#") or level == "+" or (level == "#" and number == len(levels) - 1)
        for number, level in enumerate(levels)
    )


def _options(raw: object, reader: _Reader) -> dict[str, str]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        reader.wrong("options", "must be a mapping such as {keepalive_interval: 30, try_private: false}")
        return {}
    found = {}
    for name, value in raw.items():
        where = f"options.{name}"
        if name in _INSTEAD:
            reader.wrong(where, _INSTEAD[name], "MA402")
        elif name not in _OPTIONS:
            message = f"unknown; known are {', '.join(_OPTIONS)}"
            reader.wrong(where, message, "MA402", did_you_mean(str(name), _OPTIONS))
        elif not isinstance(value, (str, int)) or not str(value).strip() or not str(value).isprintable():
            reader.wrong(where, "must be a number, true or false, or a text of one line")
        else:
            found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found
