# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The agent's life: start in the protocol's order, serve, stop without losing a task (RFC sections 7.1 to 7.3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from muster_agent import __version__, backoff, logs, tools
from muster_agent.api import MAX_BODY, Api
from muster_agent.config import AgentConfig
from muster_agent.errors import LlmError, StartError, ToolBroken
from muster_agent.health import Health
from muster_agent.http_server import HttpServer
from muster_agent.llm import providers
from muster_agent.llm.dialogue import Dialogue
from muster_agent.metrics import Metrics
from muster_agent.mqtt import HANDSHAKE_SECONDS, BrokerRefused, BrokerUnreachable, MqttLink, Will
from muster_agent.notify import Notifier
from muster_agent.pipeline import Pipeline
from muster_agent.protocol import messages, topics
from muster_agent.seen import SeenTasks
from muster_agent.settings import Settings
from muster_agent.tools.base import Tool

START_SECONDS = 30.0
FAREWELL_SECONDS = 3.0


def run(config: AgentConfig, settings: Settings, secrets: Mapping[str, str]) -> int:
    """Runs the agent until SIGTERM or SIGINT; the process's exit status."""
    return asyncio.run(Agent(config, settings, secrets).run())


class Agent:
    def __init__(self, config: AgentConfig, settings: Settings, secrets: Mapping[str, str]) -> None:
        self._config = config
        self._settings = settings
        self._secrets = secrets
        self._health = Health()
        self._metrics = Metrics(config)
        self._notifier = Notifier(os.environ)
        self._api = Api(config, self._health, self._metrics)
        self._busy = False

    async def run(self) -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        stopped = asyncio.ensure_future(stop.wait())
        try:
            async with contextlib.AsyncExitStack() as cleanup:
                starting = asyncio.ensure_future(self._start(cleanup))
                await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not starting.done():
                    await _cancel(starting)
                    return 0
                await self._serve(starting.result(), stopped)
            logs.get().info("stopped")
            return 0
        except StartError as error:
            logs.get().error("start_failed", reason=str(error))
            self._notifier.status(f"start failed: {error}")
            return 1
        except Exception:  # noqa: BLE001 (the last resort: said in a log line, not as a traceback)
            logs.get().exception("crashed")
            return 1
        finally:
            stopped.cancel()

    # Start

    async def _start(self, cleanup: contextlib.AsyncExitStack) -> Pipeline:
        """Section 7.1: HTTP at once, broker and subscription, tools, model; available only after all of them."""
        logs.get().info("starting", version=__version__, provider=self._config.llm.provider)
        await self._start_http(cleanup)
        link = self._link = self._new_link()
        cleanup.push_async_callback(self._leave)
        await self._first_connection(link)
        toolbox = await self._start_tools(cleanup)
        provider = self._provider = providers.build(self._config.llm, self._settings, self._secrets)
        cleanup.push_async_callback(provider.close)
        try:
            await provider.check()
        except LlmError as error:
            raise StartError(f"model check failed: {error}") from None
        self._health.llm.set(True, "the model answered the check at start")
        dialogue = Dialogue(self._config, provider, toolbox, self._metrics)
        pipeline = Pipeline(self._config, dialogue, self._open_seen(), link.publish, self._metrics)
        await self._announce(messages.AVAILABLE)
        self._api.dialogue = dialogue
        self._health.look = lambda: self._look(pipeline)
        self._health.started = True
        self._notifier.ready("available")
        logs.get().info("available", broker=str(self._config.mqtt.broker))
        return pipeline

    async def _start_http(self, cleanup: contextlib.AsyncExitStack) -> None:
        server = HttpServer(self._api.handle, self._api.refusal, MAX_BODY)
        host, port = self._settings.health_host, self._settings.health_port
        try:
            await server.start(host, port)
        except OSError as error:
            raise StartError(
                f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}"
            ) from None
        cleanup.push_async_callback(server.close)

    def _new_link(self) -> MqttLink:
        mqtt, agent_id = self._config.mqtt, self._config.agent.id
        credentials = None
        if mqtt.username_env is not None:
            password = self._secrets[mqtt.password_env] if mqtt.password_env is not None else None
            credentials = (self._secrets[mqtt.username_env], password)
        will = Will(topics.status_topic(agent_id), self._status(messages.UNAVAILABLE))
        return MqttLink(mqtt.broker, agent_id, credentials, will)

    async def _first_connection(self, link: MqttLink) -> None:
        """Connects and subscribes; a broker that is not there yet gets half a minute."""
        deadline, attempt = time.monotonic() + START_SECONDS, 0
        while True:
            attempt += 1
            try:
                await self._connect(link)
                return
            except BrokerRefused as error:
                raise StartError(f"broker {self._config.mqtt.broker}: {error}") from None
            except BrokerUnreachable as error:
                self._health.mqtt.set(False, str(error))
                wait = backoff.delay(attempt, base=0.5, cap=5.0)
                if time.monotonic() + wait > deadline:
                    raise StartError(
                        f"broker {self._config.mqtt.broker}: not reached within {START_SECONDS:g} s: {error}"
                    ) from None
                logs.get().warning("broker_unreachable", reason=str(error), attempt=attempt)
                await asyncio.sleep(wait)

    async def _start_tools(self, cleanup: contextlib.AsyncExitStack) -> dict[str, Tool]:
        toolbox = tools.build(self._config.tools, self._settings, self._secrets)
        for name, tool in toolbox.items():
            cleanup.push_async_callback(tool.close)
            try:
                await tool.initialize()
            except ToolBroken as error:
                raise StartError(f"tool {name}: {error}") from None
        self._health.tools.set(True, ", ".join(toolbox) or "no tools declared")
        return toolbox

    def _open_seen(self) -> SeenTasks:
        try:
            return SeenTasks(self._settings.state_directory)
        except OSError as error:
            raise StartError(f"state directory {self._settings.state_directory}: {error.strerror}") from None

    # Serve

    async def _serve(self, pipeline: Pipeline, stopped: asyncio.Future[Any]) -> None:
        """Works until `stopped`, then ends in order. A background job that ends by itself is a crash."""
        worker = asyncio.ensure_future(self._work(pipeline))
        others: list[Coroutine[Any, Any, None]] = [
            self._keep_link(),
            self._heartbeat(),
            self._notifier.ping(),
        ]
        jobs: list[asyncio.Future[Any]] = [worker, *map(asyncio.ensure_future, others)]
        try:
            await asyncio.wait({stopped, *jobs}, return_when=asyncio.FIRST_COMPLETED)
            for job in jobs:
                if job.done():
                    job.result()
            await self._stop(worker)
        finally:
            await _cancel(*jobs)

    async def _work(self, pipeline: Pipeline) -> None:
        """One task after the other; each is acknowledged only when it is done with, so none is ever lost."""
        while not self._health.stopping:
            delivery = await self._link.deliveries.get()
            self._busy = True
            try:
                await pipeline.handle(delivery)
                self._link.acknowledge(delivery)
            finally:
                self._busy = False

    async def _keep_link(self) -> None:
        """Brings a lost connection back: connect, subscribe again, say that the agent is available again."""
        while True:
            await self._link.lost.wait()
            self._link_down("the connection to the broker was lost")
            attempt = 0
            while True:
                attempt += 1
                await asyncio.sleep(backoff.delay(attempt, base=0.5, cap=10.0))
                try:
                    await self._connect(self._link)
                    await asyncio.wait_for(self._announce(messages.AVAILABLE), HANDSHAKE_SECONDS)
                    break
                except (BrokerRefused, BrokerUnreachable) as error:
                    self._link_down(str(error))
                except asyncio.TimeoutError:
                    await self._link.drop()
                    self._link_down("the broker does not confirm messages")
            self._notifier.status("available")
            logs.get().info("broker_back", attempts=attempt)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._config.mqtt.heartbeat_interval_secs)
            if self._health.mqtt.healthy:
                await self._announce(messages.AVAILABLE)

    def _look(self, pipeline: Pipeline) -> None:
        """Bring the checks up to date that nobody else keeps so."""
        trouble = self._provider.trouble()
        self._health.llm.set(trouble is None, trouble or "the model answers")
        last = (
            f"last task {int(time.time() - pipeline.last_task)} s ago"
            if pipeline.last_task
            else "no task yet"
        )
        self._health.task_processing.set(True, "working on a task" if self._busy else last)

    # Stop

    async def _stop(self, worker: asyncio.Future[None]) -> None:
        """Finishes the task in hand or hands it back: what is not acknowledged stays in the session at the broker."""
        self._health.stopping = True
        grace = self._settings.shutdown_grace
        self._notifier.stopping("finishing the task in hand" if self._in_hand else "stopping")
        logs.get().info("stopping", in_hand=self._in_hand)
        deadline = time.monotonic() + grace
        while self._in_hand and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if self._busy:
            logs.get().warning("task_handed_back", grace_seconds=grace)
        await _cancel(worker)

    @property
    def _in_hand(self) -> bool:
        """Whether somebody waits for an answer, in a conversation or over HTTP."""
        return self._busy or self._api.generating > 0

    async def _leave(self) -> None:
        """Says unavailable where available was said, then disconnects cleanly, which sends no last will."""
        if self._health.started and self._link.connected:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._announce(messages.UNAVAILABLE), FAREWELL_SECONDS)
        await self._link.drop()

    # Shared

    async def _connect(self, link: MqttLink) -> None:
        await link.connect()
        try:
            await link.subscribe(topics.input_topic(self._config.agent.id))
        except (BrokerRefused, BrokerUnreachable):
            await link.drop()
            raise
        self._health.mqtt.set(True, "connected and subscribed")
        self._metrics.mqtt_connected.set(1)

    def _link_down(self, reason: str) -> None:
        self._health.mqtt.set(False, reason)
        self._metrics.mqtt_connected.set(0)
        self._notifier.status(f"no broker: {reason}")
        logs.get().warning("broker_lost", reason=reason)

    async def _announce(self, state: str) -> None:
        await self._link.publish(topics.status_topic(self._config.agent.id), self._status(state), retain=True)

    def _status(self, state: str) -> bytes:
        agent = self._config.agent
        return messages.status(agent.id, state, agent.capabilities, agent.description)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
