# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down verify test lint unit integration faults molecule docs build clean

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHONDONTWRITEBYTECODE := 1

PLAYBOOK := ansible-playbook -i inventories/lab

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: ## make .venv with the pinned requirements (done by every target that needs it)
	@tools/setup.sh

demo: ## laboratory up, site.yml against it, where the report is; again: changes nothing
	@tools/setup.sh lab
	@echo "==> demo: the laboratory's tools"
	@python3 -m lab tools
	@echo "==> demo: nodes and control plane"
	@python3 -m lab up
	@echo "==> demo: playbooks/site.yml"
	@$(PLAYBOOK) playbooks/site.yml $(ARGS)

demo-down: ## remove the demonstration's laboratory
	@tools/setup.sh
	@python3 -m lab down

verify: ## read and judge the running laboratory, changing nothing
	@tools/setup.sh
	@$(PLAYBOOK) playbooks/verify.yml $(ARGS)

test: ## every tier of tests, each run or named as not run, and one line of totals
	@if [ "$$(id -u)" = 0 ]; then tools/setup.sh lab test; else tools/setup.sh; fi
	@python3 tests/run.py all

lint: ## ruff, mypy, yamllint, ansible-lint, changelog and the checks of our own
unit: ## tests of the pure code: no root, no laboratory
integration: ## tests against the kernel and laboratories (root)
faults: ## tests that break things on a laboratory (root)
molecule: ## Molecule scenarios of the roles on one laboratory (root); ARGS=name for some
lint unit integration faults molecule:
	@if [ "$$(id -u)" = 0 ] && [[ "$@" != lint && "$@" != unit ]]; then tools/setup.sh lab test; else tools/setup.sh; fi
	@python3 tests/run.py $@ $(ARGS)

docs: ## write docs/findings/ from the registry of codes
	@tools/setup.sh
	@python3 tools/findings_pages.py

build: ## build the collection's artifact into build/
	@tools/setup.sh
	@ansible-galaxy collection build --force --output-path build

clean: ## remove .venv, build/ and caches of tools; laboratories and reports stay
	@rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible
