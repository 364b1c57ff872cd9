# Needs make and Python 3.11 or newer, nothing else: each target installs what it uses, with checked hashes.
# PYTHON=… names the interpreter; ARGS=… goes to the program, e.g. make test ARGS="-k verify".

VENV := .venv
BENCH := $(VENV)/bench
LOCKS := .requirements
UV_VERSION := 0.13.9
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call environment,DIRECTORY): a virtual environment of the first interpreter that is new enough. Each is tried, not
# looked up: a version switcher's stub may be found and still not run. One that came out incomplete is removed again.
define environment
@for one in $(CANDIDATES); do \
	$$one -c '$(NEW_ENOUGH)' 2>/dev/null || continue; \
	$$one -m venv $(1) && exit; \
	rm -rf $(1); \
	echo "make: $$one cannot make virtual environments (on Debian: apt install python3-venv)" >&2; exit 1; \
done; \
echo "make: Lens Bridge needs Python 3.11 or newer; tried: $(CANDIDATES). Name one: make PYTHON=/path/to/python" >&2; \
exit 1
endef

# $(call install,DIRECTORY,LOCK): the lock's packages, and the project itself as it stands here.
define install
@echo "installing $(2) into $(1)"
@$(1)/bin/python -m pip install -q --require-hashes -r $(2)
@$(1)/bin/python -m pip install -q --no-deps --no-build-isolation -e .
@touch $@
endef

.PHONY: help demo test lint bench check schema picture lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## everything on this machine, with no account: ends by itself with a verdict
	@$(VENV)/bin/lens-bridge demo $(ARGS)

test: $(VENV)/installed ## all tests, against a real Redis
	@$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/installed ## style, types, import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

bench: $(BENCH)/installed ## speed and memory beside the peers, on this machine
	@$(BENCH)/bin/python -m tests.benchmarks $(ARGS)

check: lint test ## lint and test

schema: $(VENV)/installed ## write config/schema.json and config/bridge.yaml anew from the settings
	@$(VENV)/bin/lens-bridge config schema > config/schema.json.new
	@mv config/schema.json.new config/schema.json
	@$(VENV)/bin/lens-bridge config defaults > config/bridge.yaml.new
	@mv config/bridge.yaml.new config/bridge.yaml

picture: $(VENV)/installed ## draw the demo's last screen anew into config/demo.svg
	@$(VENV)/bin/lens-bridge demo --seed 4 --record config/demo.svg

lock: $(VENV)/lock/bin/uv ## write the hashed locks anew; ARGS=--upgrade for newer versions
	@mkdir -p $(LOCKS)
	@$(COMPILE) -o $(LOCKS)/runtime.txt
	@$(subst -q pyproject.toml,-q --group pyproject.toml:build,$(COMPILE)) -o $(LOCKS)/build.txt
	@$(COMPILE) --extra demo --extra dev --extra deploy --group build -o $(LOCKS)/dev.txt
	@$(COMPILE) --extra demo --group build --group peers -o $(LOCKS)/bench.txt

clean: ## remove the environments and what tools have cached
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis

COMPILE = $(VENV)/lock/bin/uv pip compile -q pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate $(ARGS)

$(VENV)/bin/python:
	$(call environment,$(VENV))

$(VENV)/installed: $(LOCKS)/dev.txt pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),$<)

# Apart from the workshop: `rich` and `click` there are imported by httpx where it finds them, and count as memory.
$(BENCH)/bin/python: | $(VENV)/bin/python
	$(call environment,$(BENCH))

$(BENCH)/installed: $(LOCKS)/bench.txt pyproject.toml | $(BENCH)/bin/python
	$(call install,$(BENCH),$<)

$(VENV)/lock/bin/uv: | $(VENV)/bin/python
	$(call environment,$(VENV)/lock)
	@$(VENV)/lock/bin/python -m pip install -q uv==$(UV_VERSION)
