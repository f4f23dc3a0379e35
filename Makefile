# make demo   builds the environment, then evaluates a real model on real data on two ranks
# make test   the same environment, and the test suite
VENV := $(CURDIR)/.venv
PATH := $(VENV)/bin:$(PATH)
export PATH

.PHONY: help demo test test-all test-part quick check check-speed docs site coverage chaos bench bench-full install clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# make install  the environment alone, in .venv; MPI=system takes the site's MPI, MPI=none leaves Horovod out
install:
	@bash launch/install

demo: install
	@python examples/digits/prepare.py
	@rm -rf examples/digits/runs/digits
	@if [ -x $(VENV)/bin/horovodrun ]; then harness launch -np 2 -- evaluate examples/digits/job.yaml; \
	else echo "no Horovod in this environment (MPI=none): one process"; harness evaluate examples/digits/job.yaml; fi

test: install check
	@# Tests wait for servers, and ranks for each other: more of them than cores keep the cores at work.
	@python -m pytest tests -m "not ranks and not long" -n 3 --dist loadfile
	@python -m pytest tests -m "ranks and not long" -n 5 --dist loadgroup

# make test-all  the long tests too: every metric at five ranks, long chaos, all combinations; for nights and releases
test-all: install check
	@# PySpark is large, and no use without Java.
	@if command -v java > /dev/null; then pip install --quiet -c versions.txt -e ".[spark]"; fi
	@python -m pytest tests -m "not ranks" -n 2 --dist loadfile
	@python -m pytest tests -m ranks -n 3 --dist loadfile

# make test-part KEY=...  the tenth of the long tests that a key chooses
KEY ?= $(shell git rev-parse HEAD 2> /dev/null || date +%j)
test-part: install
	@python -m pytest tests --part $(KEY)

# make quick  unit tests, no ranks, under a minute
quick: install
	@python -m pytest tests -m "not ranks and not slow and not long" -n 2 --dist loadfile -x -q

# make chaos  kill ranks at random and resume, as often as ROUNDS=500 says; SEED=7 chooses other moments
ROUNDS ?= 500
SEED ?= 5
chaos: install
	@ROUNDS=$(ROUNDS) SEED=$(SEED) python -m pytest tests/ranks/test_chaos.py -q -s

# make check  ruff, mypy, and the order of the rooms
check: install
	@ruff check .
	@ruff format --check .
	@mypy
	@PYTHONPATH=.:launch lint-imports > .import-linter.log || { cat .import-linter.log; exit 1; }

# make docs  write docs/metrics.md from the registry of metrics
docs: install
	@python -m harness.metrics > docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md

# make site  the pages as a site with a search, in build/site; a broken link or anchor ends it
site: install
	@pip install --quiet -c versions.txt -e ".[docs]"
	@# Not --quiet: mkdocs then counts no warnings, and --strict ends nothing.
	@NO_MKDOCS_2_WARNING=1 mkdocs build
	@echo "build/site/index.html; its search wants a server: python -m http.server -d build/site"

# make coverage  2,000 simulations of 95 % intervals: how many cover the truth (some minutes)
coverage: install
	@python -m benchmarks coverage

# make check-speed  whether a ratio to a bare loop, to Keras or to a plain reader has fallen by more than its noise, in a minute or two
check-speed: install
	@python -m benchmarks check --short

# make bench  speed and memory against bare loops and other ways to evaluate, some minutes; make bench-full: everything, an hour
bench bench-full: install
	@pip install --quiet -c versions.txt -e ".[bench]"
	@python -m benchmarks all $(if $(filter bench-full,$@),--full)

# make clean  take the environment and the example's files away
clean:
	rm -rf .venv build *.egg-info examples/*/data examples/*/model examples/*/runs
