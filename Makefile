# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
PYTHON ?= python3
# The reference agent's own libraries too: mypy and the unit tests import them.
TEST_REQUIREMENTS := requirements-dev.txt src/requirements.txt
STAGES := lint types ansible-lint sanity unit agent observability package molecule faults

.DEFAULT_GOAL := help
.PHONY: help setup runtime demo demo-down test $(STAGES) test-faults chaos reference bench bench-configs fuzz clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo "  make STAGE          Run one stage of the tests: $(STAGES)"

setup: ## Make or refresh .venv for the demo
	@$(PYTHON) -m dev.venv requirements.txt

runtime: setup ## Build the reference agent into one file (roles/agent/files/muster-agent.pyz)
	@.venv/bin/python src/build.py

demo: setup ## Deploy agents to hosts on this machine, and ask one
	@.venv/bin/python -m demo up

demo-down: setup ## Remove all that the demo made (KEEP_IMAGE=1 keeps the host image)
	@.venv/bin/python -m demo down

test: ## Run all tests, stop at the first stage that fails
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python -m dev.stages

$(STAGES):
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python -m dev.stages $@

test-faults: ## The whole fault suite, with KILLS=200 random kills by SEED: about an hour
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python -m tests.faults --kills $(or $(KILLS),200) $(addprefix --seed ,$(SEED))

chaos: ## Everything goes wrong for MINUTES=60 on HOSTS=10 under a load of tasks, by SEED
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python -m tests.chaos --minutes $(or $(MINUTES),60) --hosts $(or $(HOSTS),10) $(addprefix --seed ,$(SEED))

reference: ## Write docs/diagnostics.md, docs/formats/ and docs/reference/ from the code
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python -m dev.reference

bench: ## Measure deploys beside a ping, looped tasks and pyinfra, and write docs/benchmarks.md
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python src/build.py >/dev/null
	@.venv/bin/python -m bench.deploy $(addprefix --rounds ,$(ROUNDS))

bench-configs: ## Measure how long 100, 1,000 and 10,000 configs take to check
	@$(PYTHON) -m dev.venv requirements.txt
	@.venv/bin/python bench/validate.py

fuzz: ## Check mutated configs of all formats, INPUTS=10000 of them
	@$(PYTHON) -m dev.venv $(TEST_REQUIREMENTS)
	@.venv/bin/python -m tests.fuzz --inputs $(or $(INPUTS),10000)

clean: ## Remove .venv and what the tests downloaded or built
	rm -rf .venv .cache
