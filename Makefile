# `make` lists the targets. PYTHON=python3.12 names the Python that .venv is made from.

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint shaders bench modern-lavapipe vendor-drivers test-vendors clean

VENV := .venv/bin

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1	/p' Makefile

setup: ## get the Vulkan loader, lavapipe, the shader compiler and the virtual environment
	@scripts/setup.sh

demo: setup ## classify handwritten digits with an int8 network on this machine's GPU, or its CPU
	@$(VENV)/vkbackend demo

test: setup ## run all tests; ARGUMENTS='-k conv2d -x' passes more to pytest
	@$(VENV)/python -m pytest $(ARGUMENTS)

lint: setup ## check style, format and types
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy --strict vkbackend

shaders: setup ## compile the shaders that changed
	@$(VENV)/python -c 'from vkbackend import shaderc; raise SystemExit(shaderc.main())'

bench: setup ## time the convolutions on this machine's GPU
	@$(VENV)/python benchmarks/conv2d.py $(ARGUMENTS)

modern-lavapipe: setup ## get Mesa's newest lavapipe: `make test` then runs cooperative matrices
	@scripts/vendor_drivers.sh lavapipe

vendor-drivers: setup ## get Mesa's Adreno, Mali and Radeon drivers, to compile for them without one
	@scripts/vendor_drivers.sh

test-vendors: vendor-drivers ## compile every kernel of real networks with those drivers
	@$(VENV)/python -m pytest -m vendors tests/vendors $(ARGUMENTS)

clean: ## remove what was built (.venv and .tools stay: `make setup` repairs them)
	@rm -rf vkbackend/_spirv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find vkbackend tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
