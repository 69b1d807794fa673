# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The broker's files, as texts: configuration, users and ACL of a Mosquitto 2.0.

Everything here is a pure function of its arguments, so that a second run renders the same bytes. The configuration
is a file for ``/etc/mosquitto/conf.d/``: it says nothing that Debian's own ``mosquitto.conf`` says already (pid file,
place of the database), because Mosquitto refuses to start on some of these when they come twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

# Mosquitto's own default. The passwords here have 192 random bits: stretching them more would gain nothing.
_PBKDF2_ITERATIONS = 101
_SALT_BYTES = 12
_PASSWORD_CHARACTERS = 32

_PORTS = range(1, 65536)
_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_WORD = re.compile(r"\S+")

HEADER = "# Managed by muster.agents: changes made here are lost with the next deploy."

# A drop-in beside Debian's unit, which starts as root, makes its folders, and gives up root by itself. What is left to root
# is what that takes: to read and hand over files, to become `mosquitto`, and CAP_KILL for the signal of a reload.
HARDENING = f"""{HEADER}
[Service]
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_KILL CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETUID
ProtectSystem=strict
ReadWritePaths=/run /var/lib/mosquitto /var/log
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
# systemd's own limit of 1024 open files would be the limit of connections.
LimitNOFILE=65536
"""

# What the protocol lets each side do, `{name}` being the user. Mosquitto checks `read` when it delivers.
_AGENT_TOPICS = (
    "write /control/agents/{name}/status",
    "read /control/agents/{name}/input",
    "write /conversations/+/{name}",
    "write /control/agents/+/input",  # the next agent of a pipeline
    "read /control/agents/+/status",  # who else is available
    "read $SYS/broker/uptime",  # for the health checks: was the broker restarted?
)
_CLIENT_TOPICS = (
    "write /control/agents/+/input",
    "read /control/agents/+/status",
    "read /conversations/#",
)


@dataclass(frozen=True)
class Listener:
    """One address that the broker listens on; `bind_address` None stands for every address of the host. `tls`: encrypted.
    `certificates`: whoever connects shows a certificate, whose common name is the user's; and has no password.

    Raises ValueError for a port or an address that cannot be one.
    """

    port: int = 1883
    bind_address: str | None = None
    tls: bool = False
    certificates: bool = False

    def __post_init__(self) -> None:
        """Refuse what would change the meaning of the line."""
        if self.port not in _PORTS:
            raise ValueError(f"broker port {self.port} is not between 1 and 65535")
        if self.bind_address is not None and not _WORD.fullmatch(self.bind_address):
            raise ValueError(f"broker address {self.bind_address!r} is not one word")


# Agents on other hosts must reach it, so it takes every address; each user needs a password and has an ACL. It is
# plain TCP, for a network that is the team's own.
PRIVATE_NETWORK = Listener()


@dataclass(frozen=True)
class BrokerPaths:
    """Where the other files stand on the broker's host; its `mosquitto` user must be able to read them."""

    passwords: str = "/etc/mosquitto/muster.passwords"
    acl: str = "/etc/mosquitto/muster.acl"
    certificate: str = "/etc/mosquitto/muster.crt"
    key: str = "/etc/mosquitto/muster.key"
    client_ca: str = "/etc/mosquitto/muster-clients.crt"


@dataclass(frozen=True)
class BrokerSettings:
    """What a broker's owner may choose. Sizes in bytes, times in seconds; a limit of 0 is none.

    `max_connections` is for each listener. The other limits but that of packets are for each client: how many messages may be
    on their way to it unconfirmed, and how many wait for one that is away or busy; whichever is met first counts.
    Raises ValueError for a limit below 0.
    """

    listeners: tuple[Listener, ...] = (PRIVATE_NETWORK,)
    persistence: bool = True
    autosave_interval: int = 10  # what a crash may cost; a clean stop always saves. 0: only then
    max_packet_size: int = 256 * 1024 + 64 * 1024  # a message of 256 KiB, and room for topic and headers
    max_connections: int = 1000
    max_inflight_messages: int = 20
    max_queued_messages: int = 10_000
    max_queued_bytes: int = 64 * 1024 * 1024
    extra: tuple[str, ...] = ()  # further lines of mosquitto.conf, at the end

    def __post_init__(self) -> None:
        """Mosquitto takes some numbers below 0 for no limit, and refuses others."""
        for name, zero in {**dict.fromkeys(LIMITS, "no limit"), AUTOSAVE: "only at a stop"}.items():
            if getattr(self, name) < 0:
                raise ValueError(
                    f"mosquitto_{name} is {getattr(self, name)}; it must be 0, which is {zero}, or more"
                )


AUTOSAVE = "autosave_interval"
LIMITS = (
    "max_packet_size",
    "max_connections",
    "max_inflight_messages",
    "max_queued_messages",
    "max_queued_bytes",
)


def derive_password(key: str, username: str) -> str:
    """The password of a broker user, from the fleet's key; 32 characters of base64url.

    Raises ValueError for an empty key, which anyone could guess.
    """
    digest = _keyed(key, "mqtt", username)
    return base64.urlsafe_b64encode(digest).decode()[:_PASSWORD_CHARACTERS]


def key_fingerprint(key: str) -> str:
    """Eight hex digits that change with the key and do not lead back to it."""
    return secret_mark(key, "fingerprint", "")


def secret_mark(key: str, purpose: str, value: str) -> str:
    """Eight hex digits that change with a secret, for who may see that it changed; without the key they tell nothing of it."""
    return _keyed(key, purpose, value).hex()[:8]


def password_line(key: str, username: str) -> str:
    """A user's line of the password file, as ``mosquitto_passwd`` 2.0 writes it, without line end.

    The salt comes from key and name, not from chance: the same user gives the same line. Raises ValueError for a
    name that is not a broker user's, and for an empty key.
    """
    _check_name(username)
    salt = _keyed(key, "salt", username)[:_SALT_BYTES]
    password = derive_password(key, username).encode()
    digest = hashlib.pbkdf2_hmac("sha512", password, salt, _PBKDF2_ITERATIONS)
    salt_text, digest_text = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{username}:$7${_PBKDF2_ITERATIONS}${salt_text}${digest_text}"


def render_passwords(key: str, usernames: Iterable[str]) -> str:
    """The password file. Raises ValueError as `password_line` does."""
    return _lines(password_line(key, name) for name in sorted(set(usernames)))


def render_acl(agents: Iterable[str], clients: Iterable[str]) -> str:
    """The ACL file: every agent, by its id, and every client program, by its name, may do what the protocol needs.

    Raises ValueError for a name with other characters than letters, digits, ``.``, ``_``, ``-`` (a wildcard would
    widen what its user may do), and for a name on both lists.
    """
    users: dict[str, tuple[str, ...]] = dict.fromkeys(clients, _CLIENT_TOPICS)
    for name in agents:
        if users.get(name) is _CLIENT_TOPICS:
            raise ValueError(f"{name!r} names both an agent and a client of the broker")
        users[name] = _AGENT_TOPICS
    lines = [HEADER]
    for name in sorted(users):
        _check_name(name)
        lines += ["", f"user {name}", *(f"topic {topic.format(name=name)}" for topic in users[name])]
    return _lines(lines)


def render_conf(settings: BrokerSettings, paths: BrokerPaths) -> str:
    """The broker's configuration, for ``/etc/mosquitto/conf.d/``."""
    # No persistent_client_expiration: with it, 2.0.11 was seen to throw out a client every second ("Expiring client due
    # to timeout") after its login had gone and come back.
    return _lines(
        [
            HEADER,
            "per_listener_settings false",
            "allow_anonymous false",
            f"password_file {paths.passwords}",
            f"acl_file {paths.acl}",
            # Beside Debian's log file: the unit's standard error is the journal.
            "log_dest stderr",
            "",
            f"persistence {'true' if settings.persistence else 'false'}",
            f"autosave_interval {settings.autosave_interval}",
            f"max_inflight_messages {settings.max_inflight_messages}",
            f"max_queued_messages {settings.max_queued_messages}",
            f"max_queued_bytes {settings.max_queued_bytes}",
            *([f"max_packet_size {settings.max_packet_size}"] if settings.max_packet_size else []),
            # Else the kernel holds a message back until the one before has been acknowledged, mostly for 40 ms.
            "set_tcp_nodelay true",
            "",
            *(line for listener in settings.listeners for line in _listener_lines(listener, settings, paths)),
            *settings.extra,
        ]
    )


def _listener_lines(listener: Listener, settings: BrokerSettings, paths: BrokerPaths) -> list[str]:
    words = ["listener", str(listener.port), *filter(None, [listener.bind_address])]
    files = [f"certfile {paths.certificate}", f"keyfile {paths.key}"] if listener.tls else []
    shown = [f"cafile {paths.client_ca}", "require_certificate true", "use_identity_as_username true"]
    return [
        " ".join(words),
        f"max_connections {settings.max_connections or -1}",
        *files,
        *(shown if listener.certificates else ()),
    ]


def _keyed(key: str, purpose: str, username: str) -> bytes:
    if not key:
        raise ValueError("the key that broker passwords are derived from is empty")
    return hmac.digest(key.encode(), f"{purpose}:{username}".encode(), "sha256")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a broker user: use letters, digits, '.', '_' and '-'")


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
