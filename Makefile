# make demo   builds the environment, then evaluates a real model on real data on two ranks
# make test   the same environment, and the whole test suite
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH

.PHONY: help demo test quick check install clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install:
	@bash launch/install

demo: install
	@python examples/digits/prepare.py
	@rm -rf examples/digits/runs/digits
	@harness launch -np 2 -- evaluate examples/digits/job.yaml

test: install check
	@python -m pytest tests

# make quick  unit tests, no ranks, under a minute
quick: install
	@python -m pytest tests -m "not ranks" -x -q

# make check  ruff and mypy
check: install
	@ruff check .
	@ruff format --check .
	@mypy

clean:
	rm -rf .venv build *.egg-info examples/*/data examples/*/model examples/*/runs
