# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host image: a Debian that boots real systemd and answers SSH, as a small server would."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from dev import packages
from dev.shell import Failure, attempt, run

INCLUDED = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "libnss-systemd",
    "python3",
    "python3-apt",
    "sudo",
    "ca-certificates",
    "iproute2",
    "procps",
    "curl",
    "openssh-server",
)

# SSH host keys and the machine's id belong to one host each: they are made at its first start.
SETUP = """\
useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin
rm -f /etc/ssh/ssh_host_*
truncate --size 0 /etc/machine-id
"""

# make-rshared: without it LoadCredential= silently gives a service no file.
BOOT = """\
test -e /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
mount --make-rshared / && exec /lib/systemd/systemd
"""

LABEL = "muster.recipe"


def tag(suite: str) -> str:
    """The image's name for one Debian suite (bullseye, bookworm, trixie)."""
    return f"muster-agents/host:{suite}"


def recipe() -> str:
    """A digest of all that goes into the image: an image with another digest is built again."""
    return hashlib.sha256("\0".join([*INCLUDED, SETUP, BOOT]).encode()).hexdigest()[:16]


def present(suite: str) -> bool:
    """True when the engine has the image as this clone would build it."""
    found = attempt(
        ["docker", "image", "inspect", "-f", f'{{{{index .Config.Labels "{LABEL}"}}}}', tag(suite)]
    )
    return found.code == 0 and found.out.strip() == recipe()


def ensure(suite: str) -> str:
    """Build the image where it is missing or outdated; return one line that says how it came about."""
    if present(suite):
        return "present"
    how = _build(suite)
    # An outdated image has just lost its name.
    run(["docker", "image", "prune", "--force", "--filter", f"label={LABEL}"], "docker image prune")
    return how


def _build(suite: str) -> str:
    had_base = attempt(["docker", "image", "inspect", base(suite)]).code == 0
    pulled = attempt(["docker", "pull", "--quiet", base(suite)], timeout=120)
    if pulled.code == 0:
        _build_on_base(suite)
        if not had_base:
            run(["docker", "image", "rm", base(suite)], "docker image rm")
        return f"built on {base(suite)}"
    if packages.missing("mmdebstrap") and not packages.can_install():
        raise Failure(f"Cannot pull {base(suite)}: {pulled.reason}")
    packages.install(packages.missing("mmdebstrap"))
    _bootstrap(suite)
    return "built by mmdebstrap, as no image registry answers"


def base(suite: str) -> str:
    """The public image to build on, where a registry answers."""
    return f"debian:{suite}-slim"


def _build_on_base(suite: str) -> None:
    install = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(INCLUDED)}"
    clean = "rm -rf /var/lib/apt/lists/*"
    steps = " && ".join([install, clean, *SETUP.splitlines()])
    lines = [
        f"FROM {base(suite)}",
        "ENV container=docker",
        f"LABEL {LABEL}={recipe()}",
        f"RUN export DEBIAN_FRONTEND=noninteractive && {steps}",
        f"CMD {_command()}",
    ]
    run(
        ["docker", "build", "--quiet", "--force-rm", "--tag", tag(suite), "-"],
        "docker build",
        stdin="\n".join(lines),
    )


def _bootstrap(suite: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tarball = Path(folder) / "host.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDED)}"]
        # A server's manual pages and translations double the time and are read by nobody here.
        for unread in ("doc", "man", "locale", "info"):
            command.append(f"--dpkgopt=path-exclude=/usr/share/{unread}/*")
        hook = f'--customize-hook=chroot "$1" sh -ec "{SETUP}"'
        run([*command, hook, suite, str(tarball)], "mmdebstrap")
        changes = ["ENV container=docker", f"LABEL {LABEL}={recipe()}", f"CMD {_command()}"]
        options = [word for change in changes for word in ("-c", change)]
        run(["docker", "import", *options, str(tarball), tag(suite)], "docker import")


def _command() -> str:
    words = ", ".join(f'"{word}"' for word in ("sh", "-ec", BOOT.strip().replace("\n", "; ")))
    return f"[{words}]"


def remove() -> None:
    """Delete the images of every suite from the engine."""
    images = attempt(["docker", "image", "ls", "--quiet", tag("*")]).out.split()
    if images:
        run(["docker", "image", "rm", "--force", *sorted(set(images))], "docker image rm")
