# Stepwell. `make` alone says what there is.
#
# Every target first brings about what it needs (scripts/bootstrap.py: a few hundredths of a second when it is there).

SHELL := /bin/sh
PYTHON ?= python3
BOOTSTRAP := @$(PYTHON) scripts/bootstrap.py
ENV := . scripts/env.sh;
# More for pytest: make test ARGS='-k snapshot'
ARGS ?=
# What to lint.
CODE := providers plugins dags include tests scripts docker $(wildcard benchmarks)

.DEFAULT_GOAL := help
.PHONY: help demo demo-hdfs demo-automl ui test test-slow test-thorough kill-matrix pair-table test-compose bench lint format lock picture compose-env up down clean distclean environment

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: ## run the example pipeline: prepare on Spark, gate, train
	$(BOOTSTRAP) airflow java
	@$(ENV) scripts/demo

demo-hdfs: ## the same on a real HDFS, started and stopped for it
	$(BOOTSTRAP) airflow java maven
	@$(ENV) scripts/demo --hdfs

demo-automl: ## prepare on Spark, search for the best model, score: AutoML on census data
	$(BOOTSTRAP) airflow java openmp
	@$(ENV) scripts/demo --automl

ui: ## Airflow's user interface with the example DAGs, on loopback; Ctrl-C stops it
	$(BOOTSTRAP) airflow java
	@$(ENV) exec .venv/bin/python scripts/ui.py

test: ## the tests that take a few minutes (local, Spark, HDFS)
	$(BOOTSTRAP) airflow payload java 'maven?' 'machines?'
	@$(ENV) scripts/test "not slow" $(ARGS)

test-slow: ## the other tests
	$(BOOTSTRAP) airflow payload java 'maven?' 'machines?'
	@$(ENV) scripts/test "slow and not thorough" $(ARGS)

test-thorough: ## every fault, every login, every pair: an hour or two
	$(BOOTSTRAP) airflow payload java maven 'machines?'
	@$(ENV) scripts/test "thorough" $(ARGS)

kill-matrix: ## faults on every kind of target through a real Airflow (docs/reliability.md); ARGS='--runs 5 --kinds local'
	$(BOOTSTRAP) airflow payload java 'maven?'
	@$(ENV) unset AIRFLOW_HOME STEPWELL_ROOT; PYTHONPATH=.:providers:scripts python -m tests.reliability.matrix $(ARGS)

pair-table: ## the example pipeline on every pair of kinds of targets (docs/compute/pairs.md); PAIRS=spark-docker,… for some
	$(BOOTSTRAP) airflow payload java 'maven?' 'machines?'
	@$(ENV) STEPWELL_PAYLOAD_PYTHON="$$PWD/.venv-payload/bin/python" STEPWELL_PAIRS=$(or $(PAIRS),all) \
	  python -m pytest -q tests/pairs $(ARGS)

test-compose: ## docker-compose.yaml for real, with its profiles (part of it is in test-thorough)
	$(BOOTSTRAP) airflow 'machines?'
	@$(ENV) STEPWELL_TEST_COMPOSE=1 python -m pytest -q -s tests/compose $(ARGS)

bench: ## measure what Stepwell costs, beside its peers (benchmarks/README.md); ARGS='step gate' for single ones
	$(BOOTSTRAP) airflow payload java
	@$(ENV) python benchmarks/run.py $(ARGS)

lint: ## ruff, mypy, the layers
	$(BOOTSTRAP) airflow
	@$(ENV) ruff check $(CODE) && ruff format --check $(CODE) && mypy && pytest -q tests/unit/test_layers.py

format: ## put the code in the house's form
	$(BOOTSTRAP) airflow
	@$(ENV) ruff check --fix $(CODE); ruff format $(CODE)

lock: ## make the locks again (UPGRADE=--upgrade for newer versions)
	$(BOOTSTRAP) uv
	@$(ENV) scripts/lock $(UPGRADE)

picture: ## draw the imports into docs/architecture.md
	$(BOOTSTRAP) airflow
	@$(ENV) python scripts/import_picture.py

compose-env: ## write .env with secrets for docker-compose.yaml
	@$(PYTHON) scripts/compose_env.py

up: compose-env ## Airflow in containers, on loopback (docs/docker-compose.md); needs Docker with Compose 2
	docker compose up --build --detach --wait

down: ## ... stopped again; data stay in the volumes
	docker compose down

environment: # only what `make demo` and `make test` need, nothing run
	$(BOOTSTRAP) airflow payload java

clean: ## remove what runs have left (workspace, Airflow's database and logs, caches of tools)
	rm -rf .stepwell .airflow spark-warehouse metastore_db derby.log dist build
	rm -rf .cache/mypy .cache/pytest .cache/ruff .cache/hdfs .cache/yarn-cluster .cache/livy-server
	find providers plugins dags include tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## ... and the environments and everything fetched
	rm -rf .venv .venv-payload .tools .cache
