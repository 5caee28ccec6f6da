# SPDX-License-Identifier: MIT
# Requires Python (3.10 or newer, with venv), a C compiler and make. Everything else is installed into $(VENV).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CORE := $(wildcard heartfelt_core/* heartfelt_core/sender/* heartfelt_core/door/*)
C_FILES := $(wildcard heartfelt_core/*.[ch] heartfelt_core/sender/*.[ch] heartfelt_core/door/*.[ch] tests/core/*.[ch] \
	tests/model/*.[ch] tests/model/*.cpp tests/speed/*.c tests/fuzz/*.c benchmarks/*.c)

# Two programs at a time, with the output of each kept together if this make can do that.
CORE_TESTS = $(MAKE) --no-print-directory -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) -f tests/core/Makefile

.DEFAULT_GOAL := help
.PHONY: help demo cluster-demo serve build test core-test py-test attack parallel-test soak asan tsan fuzz sanitized-install \
	sanitized-fuzz sanitized-test model-check ends lint format bench bench-plot bench-compare bench-instructions \
	bench-lateness bench-panel hold-simulation \
	wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: build ## watch 10,000 services for 15 s; eight of them stop beating
	@echo '== python -m heartfelt demo'
	@$(BIN)/python -m heartfelt demo

serve: build $(VENV)/.monitor ## start the monitor at http://127.0.0.1:8900 with 1,000 simulated instances
	@echo '== heartfelt serve, and heartfelt demo --monitor; Ctrl-C ends both'
	@$(BIN)/python -m heartfelt serve --data build/monitor $(SERVE_ARGS) & serving=$$!; \
		trap 'kill $$serving 2>/dev/null; wait $$serving' EXIT INT TERM; \
		$(BIN)/python -m heartfelt demo --monitor $(MONITOR) $(FEED_ARGS)

cluster-demo: build $(VENV)/.monitor-tested $(VENV)/.redis ## kill one of three monitors that share a Redis, and watch the others take over; 40 s
	@echo '== python -m heartfelt demo --cluster'
	@$(BIN)/python -m heartfelt demo --cluster

MONITOR ?= http://127.0.0.1:8900

build: $(VENV)/.built ## make .venv, build the core, install heartfelt into it

test: core-test $(VENV)/.openapi py-test ## run all tests, 6 to 10 minutes

core-test: ## run the C core's tests
	@echo '== the C core'
	@$(CORE_TESTS) core-test

py-test: build $(VENV)/.tests $(VENV)/.monitor-tested $(VENV)/.valgrind $(VENV)/.faketime $(VENV)/.promtool $(VENV)/.systemd $(VENV)/.nginx $(VENV)/.redis ## run the tests in Python
	@echo '== the tests in Python'
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal --durations=10 $(PYTEST_ARGS)

attack: build $(VENV)/.tests $(VENV)/.monitor-tested ## attack a monitor on the loopback: floods, crowds, bombs, mutations; 2 minutes
	@echo '== attacks'
	@$(BIN)/python -m pytest -q --durations=5 tests/attack $(PYTEST_ARGS)

parallel-test: build $(VENV)/.tests ## run the multi-threaded tests, each in four threads at once: for a free-threaded Python
	@echo '== the multi-threaded tests, in parallel'
	@$(PIP) install --prefer-binary --group parallel
	@$(BIN)/python -m pytest -q --parallel-threads=4 --limit-times=3 --durations=10 $(addprefix tests/stress/test_, \
		beaters.py callbacks.py close.py edge.py readers.py sharing.py simulation.py)

asan: ## test the core and the extension under AddressSanitizer and UBSan
	@$(CORE_TESTS) asan
	@$(MAKE) --no-print-directory VENV=.venv-asan SANITIZER=asan sanitized-test

tsan: ## test the core and the extension under ThreadSanitizer
	@$(CORE_TESTS) tsan
	@$(MAKE) --no-print-directory VENV=.venv-tsan SANITIZER=tsan sanitized-test

fuzz: build/fuzz_answer ## fuzz every parser under AddressSanitizer: FUZZ_SECONDS=60 each, SEED=
	@tests/limited.sh $$(($(FUZZ_SECONDS) + 120)) build/fuzz_answer $(FUZZ_ANSWER_ARGS)
	@$(MAKE) --no-print-directory VENV=.venv-asan SANITIZER=asan sanitized-fuzz
	@$(MAKE) --no-print-directory damage-fuzz

.PHONY: damage-fuzz
damage-fuzz: build $(VENV)/.tests $(VENV)/.monitor-tested ## damage a database in 500 ways, and start a monitor's store with each; SEED=
	@$(BIN)/python -m tests.monitor.store.fuzz_damage 500 $(SEED)

FUZZ_SECONDS ?= 60

# libFuzzer if there is clang; otherwise the target mutates its input itself.
CLANG := $(shell command -v clang)
FUZZ_ANSWER_ARGS = $(if $(CLANG),-max_total_time=$(FUZZ_SECONDS) -max_len=4096 $(if $(SEED),-seed=$(SEED)),$(FUZZ_SECONDS) $(SEED))

build/fuzz_answer: tests/fuzz/fuzz_answer.c $(wildcard heartfelt_core/sender/hf_answer.*)
	@mkdir -p build
	@$(if $(CLANG),$(CLANG) -fsanitize=fuzzer -DHF_LIBFUZZER,$(CC)) -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra \
		-fsanitize=address,undefined -fno-sanitize-recover=all -Iheartfelt_core -Iheartfelt_core/sender \
		tests/fuzz/fuzz_answer.c heartfelt_core/sender/hf_answer.c -o $@

hold-simulation: build $(VENV)/.tests $(VENV)/.monitor-tested ## print the table of docs/holds.md: false alarms and delays of 200 simulated fleets
	@$(BIN)/python -m tests.monitor.fleet.hold_simulation $(FLEETS)

FLEETS ?= 200

soak: build $(VENV)/.tests ## let 500 lines of one process beat for a minute while the GIL is held, and check that no beat is missed
	@$(BIN)/python -m tests.agent.soak $(SOAK_ARGS)

ends: build $(VENV)/.tests $(VENV)/.monitor-tested ## stop a hub 1,000 times in each way and a monitor 200 times, and run the stall and memory tests at full size; half an hour
	@HEARTFELT_ENDS=1000 HEARTFELT_FULL=1 $(BIN)/python -m pytest -q -s --limit-times=100 tests/stress/test_exit.py \
		tests/stress/test_close.py tests/stress/test_fork.py tests/stress/test_interrupts.py tests/stress/test_stalls.py \
		tests/unit/test_rounds.py
	@HEARTFELT_ENDS=200 $(BIN)/python -m pytest -q -s --limit-times=20 tests/monitor/test_stop_process.py

model-check: ## model-check the core's protocols and the cluster's; the checkers must find planted bugs
	@echo '== the model checkers'
	@$(PYTHON) -B tests/model/check.py

lint: build $(VENV)/.lint $(VENV)/.monitor $(VENV)/.monitor-tested ## run ruff, mypy, stubtest, clang-format, cython-lint, codespell, and check first words of docstrings
	@echo '== lint'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --diff --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m mypy.stubtest heartfelt._core heartfelt._bell heartfelt._heart heartfelt._numbers heartfelt._event heartfelt._hot \
		heartfelt._rows heartfelt._sender heartfelt._known heartfelt._ingest $(if $(filter Linux,$(shell uname -s)),heartfelt._door) \
		--allowlist tests/typing/stubtest_allow.txt --ignore-unused-allowlist
	@$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	@PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint heartfelt_core src/heartfelt
	@$(BIN)/codespell $$(git ls-files)
	@$(BIN)/python -m tests.lint.docstrings

format: $(VENV)/.lint ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .
	@$(BIN)/clang-format -i $(C_FILES)

bench: build $(VENV)/.bench ## compare the hub with alternatives in Python, as ratios; a few minutes
	@$(BIN)/python benchmarks/ratios.py --peers --json build/bench.json $(BENCH_ARGS)

bench-plot: build $(VENV)/.bench | build/bench.json ## draw the results of the last `make bench`: benchmarks/*.svg
	@$(BIN)/python benchmarks/plot.py build/bench.json

bench-compare: $(VENV)/.tests ## compare the speed of this tree with another revision: BASE=main
	@test -n "$(BASE)" || { echo 'which revision? make bench-compare BASE=main [KEYS="10000 1000000"]'; exit 2; }
	@$(BIN)/python benchmarks/compare.py "$(BASE)" $(if $(KEYS),--keys $(KEYS))

bench-instructions: build ## count the instructions of a beat and store them for the tests
	@$(GET_VALGRIND)
	@$(BIN)/python -m tests.speed.instructions --record

bench-lateness: build $(VENV)/.tests ## measure the lateness of verdicts and the cost of the worker threads (Linux)
	@mkdir -p build
	@$(BIN)/python benchmarks/lateness.py --json build/lateness.json
	@$(BIN)/python benchmarks/workers.py --json build/workers.json

.PHONY: browser-test screenshots
browser-test: build $(VENV)/.tests $(VENV)/.browser $(VENV)/.monitor-tested $(VENV)/.nginx $(VENV)/.redis ## test the panel in a real browser, with axe
	@echo '== the panel in a browser'
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=10 tests/browser $(PYTEST_ARGS)

screenshots: build $(VENV)/.tests $(VENV)/.browser ## draw docs/images/*.png: each page of the panel, light and dark
	@$(BIN)/python -m tests.browser.screenshots

bench-panel: $(VENV)/.monitor $(VENV)/.browser ## measure frame times of the panel with 10,000 instances, in chromium
	@mkdir -p build
	@$(BIN)/python benchmarks/panel.py --json build/panel.json $(BENCH_ARGS)

wheel: $(VENV)/.lint ## build a wheel for this machine, in dist/
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps -w dist .
	@ls dist

clean: ## remove build products and environments
	rm -rf build dist .venv .venv-* src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete

# -- prerequisites of the targets above; each stamp file records that a step was done

$(VENV)/.made:
	@echo '== making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1' 'setuptools>=77' 'Cython>=3.1'
	@touch $@

$(VENV)/.built: $(VENV)/.made pyproject.toml setup.py $(CORE) $(wildcard src/heartfelt/*.pxd)
	@echo '== building heartfelt into $(VENV)'
	@$(PIP) install --no-build-isolation --editable .
	@touch $@

$(VENV)/.tests: $(VENV)/.made pyproject.toml
	@echo '== installing the dependencies of the tests'
	@$(PIP) install --prefer-binary --group test
	@$(PIP) install --only-binary :all: --group certificates 2>/dev/null || echo 'no cryptography for this Python: TLS is not tested'
	@$(PIP) install --only-binary :all: --group greenlets 2>/dev/null || echo 'no gevent for this Python: greenlets are not tested'
	@touch $@

GET_VALGRIND := tests/get_tool.sh valgrind valgrind 'instructions are not counted'

# Looked for once: if a tool is missing and cannot be installed, the tests that need it say so.
$(VENV)/.valgrind: $(wildcard tests/speed/instructions.json) | $(VENV)/.built
	@! $(BIN)/python -m tests.speed.instructions --is-stored || $(GET_VALGRIND) || true
	@touch $@

$(VENV)/.faketime: | $(VENV)/.made
	@tests/get_tool.sh faketime faketime 'changes of the wall clock while a hub watches are not tested' || true
	@touch $@

$(VENV)/.systemd: | $(VENV)/.made
	@tests/get_tool.sh systemd systemd-analyze 'the units are not checked by systemd' || true
	@touch $@

$(VENV)/.promtool: | $(VENV)/.made
	@tests/get_tool.sh prometheus promtool 'the metrics are not checked by promtool' || true
	@touch $@

$(VENV)/.nginx: | $(VENV)/.made
	@PATH="$$PATH:/usr/sbin" tests/get_tool.sh nginx-light nginx 'the monitor is not tested behind a proxy' || true
	@touch $@

$(VENV)/.redis: | $(VENV)/.made
	@tests/get_tool.sh redis-server redis-server 'monitors that share a Redis are not tested' || true
	@touch $@

# A client generator, a validator and an attacker of the HTTP interface: they test the same monitor whatever the Python.
$(VENV)/.openapi: $(VENV)/.built pyproject.toml
	@$(PIP) install --only-binary :all: --group openapi 2>/dev/null || \
		echo 'the tools for OpenAPI are not available for this Python: openapi.json is not tested by them'
	@touch $@

$(VENV)/.monitor: $(VENV)/.built pyproject.toml
	@echo '== installing the dependencies of the monitor'
	@$(PIP) install --prefer-binary 'heartfelt[monitor]' # already installed: this adds the extra's dependencies
	@touch $@

$(VENV)/.monitor-tested: $(VENV)/.built pyproject.toml
	@$(PIP) install --only-binary :all: 'heartfelt[monitor,redis]' 2>/dev/null || \
		$(PIP) install --only-binary :all: 'heartfelt[monitor]' 'redis>=6' 2>/dev/null || \
		echo 'some dependencies of the monitor are not available for this Python: the monitor is not tested'
	@touch $@

$(VENV)/.browser: $(VENV)/.monitor pyproject.toml
	@tests/get_tool.sh chromium chromium 'the panel is not tested in a browser' || true
	@echo '== installing the browser driver'
	@$(PIP) install --prefer-binary --group browser
	@touch $@

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	@echo '== installing the dependencies of the benchmarks'
	@$(PIP) install --group bench
	@touch $@

build/bench.json:
	@$(MAKE) --no-print-directory bench

$(VENV)/.lint: $(VENV)/.made pyproject.toml
	@echo '== installing the dependencies of lint'
	@$(PIP) install --group test --group certificates --group lint
	@touch $@

# -- the extension under a sanitizer, in its own environment (not editable: the tree keeps its own build)

RUNTIME_asan := $(shell $(CC) -print-file-name=libasan.so) $(shell $(CC) -print-file-name=libubsan.so)
RUNTIME_tsan := $(shell $(CC) -print-file-name=libtsan.so)
# The exit status of an xdist worker is not visible, so reports go to files, and any file is a failure.
REPORTS := $(CURDIR)/build/$(SANITIZER)-reports
LOG_PATH := $(if $(filter sanitized-test,$(MAKECMDGOALS)),:log_path=$(REPORTS)/report)
OPTIONS_asan := ASAN_OPTIONS=detect_leaks=0$(LOG_PATH) UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1$(LOG_PATH)
# A forked child may start threads, as the program under test does; by default the sanitizer would end it.
OPTIONS_tsan := TSAN_OPTIONS=exitcode=66:halt_on_error=1:die_after_fork=0$(LOG_PATH)

# Tests that measure memory, or run programs that do not know about the sanitizer.
NOT_WHEN_SANITIZED := $(addprefix --ignore=tests/unit/test_,memory.py greenlets.py demo.py examples.py readme.py benchmarks.py time_limits.py)
NOT_WHEN_SANITIZED += $(addprefix --ignore=tests/,stress/test_exit.py stress/test_fork.py stress/test_interrupts.py \
	stress/test_stalls.py unit/test_rounds.py)

# Factor by which the time limits of tests are extended.
LIMIT_TIMES_asan := 3
LIMIT_TIMES_tsan := 5

SANITIZED_TESTS ?= tests/stress tests/unit $(NOT_WHEN_SANITIZED)

.PHONY: sanitized-test
SANITIZED = $(OPTIONS_$(SANITIZER)) LD_PRELOAD="$(RUNTIME_$(SANITIZER))" PYTHONMALLOC=malloc $(BIN)/python

# Not an editable install: files that are not compiled are copied, too.
INSTALLED := $(CORE) pyproject.toml setup.py $(shell find src/heartfelt -type f ! -name '*.so' ! -path '*/__pycache__/*')

sanitized-install: $(VENV)/.sanitized

$(VENV)/.sanitized: $(VENV)/.made $(VENV)/.tests $(INSTALLED)
	@echo '== building the extension for $(SANITIZER)'
	@HEARTFELT_BUILD=$(SANITIZER) $(PIP) install --no-build-isolation --no-deps --force-reinstall .
	@touch $@

sanitized-fuzz: sanitized-install
	@$(PIP) install --prefer-binary 'heartfelt[monitor]'
	@printf '%s\n' $(patsubst tests/fuzz/%.py,tests.fuzz.%,$(wildcard tests/fuzz/fuzz_*.py)) | $(OPTIONS_$(SANITIZER)) xargs -P 2 -I FUZZER env \
		LD_PRELOAD="$(RUNTIME_$(SANITIZER))" PYTHONMALLOC=malloc $(BIN)/python -m FUZZER $(FUZZ_SECONDS) $(SEED)

sanitized-test: sanitized-install
	@echo '== the extension under $(SANITIZER)'
	@rm -rf $(REPORTS) && mkdir -p $(REPORTS)
	@status=0; $(SANITIZED) -m pytest -q -n 2 --dist worksteal -p no:cacheprovider --durations=10 \
		--limit-times=$(LIMIT_TIMES_$(SANITIZER)) $(SANITIZED_TESTS) || status=$$?; \
		if cat $(REPORTS)/* 2>/dev/null; then echo 'the sanitizer has reported the errors above'; exit 1; fi; exit $$status
