# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prometheus metrics of the agent, in a registry of their own."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from muster_agent import __version__
from muster_agent.config import AgentConfig

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUDGET_LIMITS = ("max_cost_per_task", "max_iterations", "max_tool_calls")
_TASK_SECONDS = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    def __init__(self, config: AgentConfig) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "agent_requests_total",
            "HTTP requests answered.",
            ["method", "path", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "agent_request_duration_seconds",
            "Time to answer an HTTP request.",
            ["path"],
            registry=self.registry,
        )
        self.tasks = Counter(
            "agent_tasks_total",
            "Messages on the input topic, by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        self.task_seconds = Histogram(
            "agent_task_duration_seconds",
            "Time to process a task.",
            buckets=_TASK_SECONDS,
            registry=self.registry,
        )
        self.tool_calls = Counter(
            "agent_tool_calls_total",
            "Tool calls asked for by the model.",
            ["tool", "outcome"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "agent_llm_tokens_total",
            "Tokens as the provider counts them.",
            ["direction"],
            registry=self.registry,
        )
        self.budget_exhausted = Counter(
            "agent_budget_exhausted_total",
            "How often a task met a limit of the budget.",
            ["limit"],
            registry=self.registry,
        )
        for limit in BUDGET_LIMITS:  # there from the start, so that the first one is an increase
            self.budget_exhausted.labels(limit)
        self.mqtt_connected = Gauge(
            "agent_mqtt_connected", "1 while connected to the broker and subscribed.", registry=self.registry
        )
        Info("agent", "The agent that runs here.", registry=self.registry).info(
            {
                "agent_id": config.agent.id,
                "version": __version__,
                "provider": config.llm.provider,
                "model": config.llm.model,
            }
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)
