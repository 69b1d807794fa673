# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files and services of tasks.yml, by pyinfra: `pyinfra --yes inventory.py deploy.py`."""

from __future__ import annotations

from pathlib import Path

from pyinfra import config, host
from pyinfra.operations import apt, files, systemd

config.SUDO = True
TEMPLATES = Path(__file__).resolve().parent / "templates"
# What is written for each agent: the template, where it goes, its mode.
WRITTEN = (
    ("agent.toml.j2", "/etc/agents/{name}.toml", "600"),
    ("environment.j2", "/etc/agents/{name}.env", "600"),
    ("secrets.j2", "/etc/agents/{name}.secrets", "600"),
    ("agent.service.j2", "/etc/systemd/system/agent-{name}.service", "644"),
)


def broker() -> None:
    apt.packages(name="Install the broker", packages=["mosquitto"], no_recommends=True)
    written = [
        files.put(
            name=f"Write {one['path']}",
            src=str(Path(host.data.broker_files) / one["name"]),
            dest=one["path"],
            user="root",
            group=one["group"],
            mode=one["mode"].lstrip("0"),
        )
        for one in host.data.broker_install
    ]
    changed = any(one.changed for one in written)
    systemd.service(name="Run the broker", service="mosquitto", enabled=True, restarted=changed)


def agents() -> None:
    for folder in ("/etc/agents", "/opt/agents"):
        files.directory(name=f"Make {folder}", path=folder, mode="755")
    runtime = files.put(
        name="Bring the runtime", src=host.data.runtime, dest="/opt/agents/muster-agent.pyz", mode="755"
    )
    for agent in host.data.bench_agents:
        written = [
            files.template(
                name=f"Write {target.format(**agent)}",
                src=str(TEMPLATES / template),
                dest=target.format(**agent),
                mode=mode,
                agent=agent,
                broker_url=host.data.broker_url,
            )
            for template, target, mode in WRITTEN
        ]
        systemd.service(
            name=f"Run {agent['name']}",
            service=f"agent-{agent['name']}",
            enabled=True,
            restarted=runtime.changed or any(one.changed for one in written),
            daemon_reload=written[-1].changed,
        )


if "broker" in host.groups:
    broker()
if "agents" in host.groups:
    agents()
