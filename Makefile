.DEFAULT_GOAL := help
SHELL := bash
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help setup demo test test-fast lint format bench package clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# torch comes first, as a pair with torchvision, so that an index or a local folder may decide both.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q torch torchvision
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

setup: $(STAMP)  ## make .venv with everything in it

demo: $(STAMP)  ## every command on generated scenes, on one page (sets up first)
	$(BIN)/cocos demo --output demo

test: $(STAMP)  ## all tests (sets up first)
	$(BIN)/python -m pytest -n auto

test-fast: $(STAMP)  ## the tests that take less than ten seconds each
	$(BIN)/python -m pytest -n auto -m "not slow"

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff format and sort
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## speed and memory of full-size networks beside the plain reference path
	$(BIN)/python benchmarks/run.py

package: $(STAMP)  ## the sdist, and the wheel built from it, into dist/
	$(BIN)/python -m build -q

clean:  ## remove everything that the targets made
	rm -rf $(VENV) dist build demo .pytest_cache .mypy_cache .ruff_cache
