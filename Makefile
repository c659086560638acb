# Everything one does with Postroom; `make help` lists it. Needs Python 3.11 or newer, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := libs/mail-proto libs/mail-runtime libs/mail-testkit services/smtp-in services/smtp-out \
	services/pop3 services/imap services/store-api cli
STAMP := $(VENV)/.installed
COMPOSE ?= docker compose
export S3

.DEFAULT_GOAL := help
.PHONY: help install run demo migrate test test-fast lint fix bench-smtp bench-store bench-blobs bench-mime \
	bench-pop3 bench-imap bench-relay fuzz secrets up down containers-check images-check containers-chaos kubernetes-check clean

help: ## list what there is
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS="$$(printf '\t')" read -r name what; \
	do printf '  make %-18s %s\n' "$$name" "$$what"; done

install: $(STAMP) ## make .venv and install everything that is needed

$(STAMP): requirements/dev.txt $(wildcard libs/*/pyproject.toml services/*/pyproject.toml cli/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Postroom needs Python 3.11 or newer: set PYTHON to it")'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the libraries (once; a minute or two)"
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@echo "installing Postroom's own parts"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		$(foreach part,$(DISTRIBUTIONS),--editable $(part))
	@touch $(STAMP)

run: $(STAMP) ## start Postroom here, with everything it needs (S3=1: bodies in a real S3 server)
	@exec $(BIN)/python -m postroom_cli run

demo: $(STAMP) ## watch a message go from Alice to Bill's server, and the answer arrive by push
	@exec $(BIN)/python -m postroom_cli demo

migrate: $(STAMP) ## bring the schema of the database DATABASE_URL up to date; any number may do so at once
	@exec $(BIN)/python -m store_api migrate

test: $(STAMP) ## all tests: units, the store, the whole system (PARTS="cli tests": only these)
	$(BIN)/python -m pytest -q $(PARTS)

test-fast: $(STAMP) ## the tests that need no running system
	$(BIN)/python -m pytest -q libs services/smtp-in services/smtp-out services/pop3 services/imap

kubernetes-check: $(STAMP) ## the Kubernetes manifests against API schemas and policies (with kubectl: against its rendering too)
	$(BIN)/python -m pytest -q tests/kubernetes

lint: $(STAMP) ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## let the tools repair style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-smtp: $(STAMP) ## measure SMTP in until mail is visible in IMAP, beside Debian's Postfix and Dovecot where installed
	$(BIN)/python -m bench.smtp $(ARGS)

bench-store: $(STAMP) ## measure the store over HTTP against its goals (S3=1: bodies in a real S3 server)
	$(BIN)/python -m bench.store $(if $(filter-out 0,$(S3)),--s3) $(ARGS)

bench-blobs: $(STAMP) ## measure what a stored body costs: PUTs, packs, compression, encryption
	$(BIN)/python -m bench.blobs

bench-mime: $(STAMP) ## measure what reading a message costs
	$(BIN)/python bench/mime.py $(ARGS)

bench-sizing: $(STAMP) ## measure what mailboxes and messages cost, and how long a restore takes
	$(BIN)/python -m bench.sizing $(ARGS)

bench-relay: $(STAMP) ## measure messages per second from submission to remote hosts, one slow, one dead
	$(BIN)/python -m bench.relay $(ARGS)

fuzz: $(STAMP) ## mutated real messages, POP3, SMTP and IMAP sessions, a minute each (ARGS="--seconds 600")
	$(BIN)/python -m mail_testkit.fuzz $(ARGS)
	$(BIN)/python -m mail_testkit.fuzz_pop3 $(ARGS)
	$(BIN)/python -m mail_testkit.fuzz_smtp $(ARGS)
	$(BIN)/python -m mail_testkit.fuzz_imap $(ARGS)

bench-pop3: $(STAMP) ## measure POP3 beside Debian's Dovecot, where it is installed
	$(BIN)/python -m bench.pop3 $(ARGS)

bench-imap: $(STAMP) ## measure IMAP beside Debian's Dovecot, where it is installed (ARGS="--json")
	$(BIN)/python -m bench.imap $(ARGS)

secrets: ## write the secrets of docker-compose.yml, once; what exists is kept
	deploy/secrets.sh

up: secrets ## build the images and start everything in containers
	$(COMPOSE) up --detach --build --wait

down: ## stop the containers; the mail stays
	$(COMPOSE) down

containers-check: $(STAMP) ## build, start, send mail through the containers, stop
	$(BIN)/python tests/containers/check.py

images-check: $(STAMP) ## build the images; look at size, user, tools, file system, SBOM
	$(BIN)/python -m tests.containers.images $(ARGS)

containers-chaos: $(STAMP) ## kill, restart, stop and upgrade containers while mail flows: nothing may be lost (ARGS="--only kill")
	$(BIN)/python -m tests.containers.chaos $(ARGS)

clean: ## remove what is made anew; not ./var, where the mail is
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
