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
@echo "making a virtual environment in $(1)"
@for one in $(CANDIDATES); do \
	$$one -c '$(NEW_ENOUGH)' 2>/dev/null || continue; \
	$$one -m venv $(1) && exit; \
	rm -rf $(1); \
	echo "make: $$one cannot make virtual environments (on Debian: apt install python3-venv)" >&2; exit 1; \
done; \
echo "make: Lens Bridge needs Python 3.11 or newer; tried: $(CANDIDATES). Name one: make PYTHON=/path/to/python" >&2; \
exit 1
endef

# $(call install,DIRECTORY,LOCK,SIZE): the lock's packages, with a line for each that comes, and the project itself as it
# stands here. A pipe hides whether pip succeeded, so that is told by the file it leaves.
define install
@rm -f $@
@echo "installing $(2) into $(1): $(3)"
@{ $(1)/bin/python -m pip install --require-hashes -r $(2) && \
	$(1)/bin/python -m pip install -q --no-deps --no-build-isolation -e . && touch $@; } | sed -n $(ARRIVALS); test -e $@
endef
# "Downloading" or "Using cached", a wheel, its size.
ARRIVALS := -e 's/^ *[DU][a-z ]* \([^- ]*\)-\([^-]*\)-.*[.]whl \((.*)\)/  \1 \2 \3/p' -e 's/^Installing .*/  unpacking/p'

.PHONY: help demo test fast lint fmt bench soak mutants check schema picture lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed-demo ## everything on this machine, with no account: ends by itself with a verdict
	@$(VENV)/bin/lens-bridge demo $(ARGS)

test: $(VENV)/installed ## all tests, against a real Redis
	@$(VENV)/bin/python -m pytest $(ARGS)

fast: $(VENV)/installed ## the unit tests and the import contracts: seconds
	@$(VENV)/bin/python -m pytest tests/unit $(ARGS)

lint: $(VENV)/installed ## style, types, import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

fmt: $(VENV)/installed ## mend what style can be mended by itself
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: $(BENCH)/installed ## speed and memory beside the peers, on this machine
	@$(BENCH)/bin/python -m tests.benchmarks $(ARGS)

soak: $(VENV)/installed ## faults at random for half an hour, then the verdict: ARGS="--minutes 5 --seed 7"
	@$(VENV)/bin/python -m tests.soak $(ARGS)

mutants: $(VENV)/installed ## change single places of the code, see which tests notice: ARGS="bridge/delivery --sample 50"
	@$(VENV)/bin/python -m tests.mutants $(ARGS)

check: lint test ## lint and test

schema: $(VENV)/installed-demo ## write anew what config/ holds of the settings and of the contract
	@$(VENV)/bin/lens-bridge config schema > config/schema.json.new
	@mv config/schema.json.new config/schema.json
	@$(VENV)/bin/lens-bridge config defaults > config/bridge.yaml.new
	@mv config/bridge.yaml.new config/bridge.yaml
	@$(VENV)/bin/lens-bridge config contract > config/contract.schema.json.new
	@mv config/contract.schema.json.new config/contract.schema.json
	@$(VENV)/bin/lens-bridge config asyncapi > config/asyncapi.yaml.new
	@mv config/asyncapi.yaml.new config/asyncapi.yaml

picture: $(VENV)/installed ## draw anew what the demo shows at its end, what the doctor says and the page, into config/
	@$(VENV)/bin/lens-bridge demo --seed 4 --record config/demo.svg
	@$(VENV)/bin/python -m tests.support.doctor_picture config/doctor.svg
	@$(VENV)/bin/python -m tests.support.page_picture config

lock: $(VENV)/lock/bin/uv ## write the hashed locks anew; ARGS=--upgrade for newer versions
	@mkdir -p $(LOCKS)
	@$(COMPILE) -o $(LOCKS)/runtime.txt
	@$(COMPILE) --extra otel -o $(LOCKS)/otel.txt
	@$(subst -q pyproject.toml,-q --group pyproject.toml:build,$(COMPILE)) -o $(LOCKS)/build.txt
	@$(COMPILE) --extra demo --group build -o $(LOCKS)/demo.txt
	@$(COMPILE) --extra demo --extra dev --extra deploy --extra otel --group build -o $(LOCKS)/dev.txt
	@$(COMPILE) --extra demo --group build --group peers -o $(LOCKS)/bench.txt

clean: ## remove the environments and what tools have cached
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis

COMPILE = $(VENV)/lock/bin/uv pip compile -q pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate $(ARGS)

$(VENV)/bin/python:
	$(call environment,$(VENV))

# One environment in two steps, since who wants to see the demo should not have to wait for the workshop.
$(VENV)/installed-demo: $(LOCKS)/demo.txt pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),$<,33 MB to download; about half a minute)

$(VENV)/installed: $(LOCKS)/dev.txt $(VENV)/installed-demo
	$(call install,$(VENV),$<,145 MB more; about a minute)

# Apart from the workshop: it has click, with which httpx imports rich too, and both would count as memory.
$(BENCH)/bin/python: | $(VENV)/bin/python
	$(call environment,$(BENCH))

$(BENCH)/installed: $(LOCKS)/bench.txt pyproject.toml | $(BENCH)/bin/python
	$(call install,$(BENCH),$<,34 MB to download; about half a minute)

$(VENV)/lock/bin/uv: | $(VENV)/bin/python
	$(call environment,$(VENV)/lock)
	@$(VENV)/lock/bin/python -m pip install -q uv==$(UV_VERSION)
