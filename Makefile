# The two that matter: `make demo` and `make test`. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults drills lint molecule bench-switch bench-failover bench-plays bench-status screens down clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup:  ## .venv, and the system packages the lab needs
	@scripts/setup.sh

demo: setup  ## four machines on this computer, from bare Debian to an answer
	@scripts/demo.sh

test:  ## everything this machine can run; says what was left out and why
	@scripts/setup.sh test
	@scripts/test.sh

test-faults: setup  ## the controller killed at every crash point, under load, on labs of its own; hours. FAULTS='--labs 2 --only switch'
	@.venv/bin/python -m tests.faults $(FAULTS)

drills:  ## backups lost and restored, floods of logs, alerts that reach a receiver, faults that doctor names; on the lab
	@scripts/setup.sh test
	@.venv/bin/python -m pytest -q tests/lab -m drill

lint: setup  ## ruff, mypy --strict, yamllint, ansible-lint
	@scripts/lint.sh

molecule: setup  ## every role's scenario, on one lab
	@scripts/molecule.sh

bench-switch: setup  ## 20 upgrades and rollbacks under load, beside nginx reloads; one JSON line
	@.venv/bin/python -m tests.bench.switch

bench-failover: setup  ## routers and engines die and hang under load; one JSON line
	@.venv/bin/python -m tests.bench.failover

bench-plays: setup  ## what it costs to start a play, plain and warm; one JSON line
	@.venv/bin/python -m tests.bench.plays

bench-status: setup  ## how long `status` takes, beside ssh and Ansible; one JSON line. STATUS='--site site.yml'
	@.venv/bin/python -m tests.bench.status $(STATUS)

screens: setup  ## the pictures of docs/screens, from the real commands on a lab. SCREENS='--only status,doctor'
	@.venv/bin/python -m tests.screens $(SCREENS)

down: setup  ## take the demo's machines away
	@.venv/bin/dsdeploy lab down --site inventory/lab/site.yml

clean: down  ## and everything else that was made here
	rm -rf .venv .test-results .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
