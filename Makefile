# Two commands, from a clean clone, with Python 3.11 or newer, make and a package index:
#   make demo    looks at real solar cells and writes a report
#   make test    runs every check and every test
# Each may be run again at no cost: what is installed already is not installed twice.

# Libraries are compiled at their first use, not when they are installed; without keeping that,
# every start would take many seconds.
unexport PYTHONDONTWRITEBYTECODE

# Changes with the checkout's place and with what is to be installed.
STATE := $(shell (pwd; cat pyproject.toml constraints.txt) | cksum | cut -d' ' -f1)
CORE := .venv/.installed-$(STATE)
DEV := .venv/.installed-dev-$(STATE)

.PHONY: help demo test soak constraints clean

help:
	@echo "make demo         install into .venv, inspect real solar cells, write a report"
	@echo "make test         install into .venv with the dev extra, run every check and test"
	@echo "make soak         install as for make test, load the station for two to three hours, Linux"
	@echo "make constraints  pin the newest versions that pyproject.toml allows"
	@echo "make clean        remove .venv and what the commands above wrote"
	@echo
	@echo "PYTHON=python3.12 picks another Python. On Linux the plain package index gives"
	@echo "PyTorch's CUDA build, several GB more. For the CPU build:"
	@echo "make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu"

demo: $(CORE)
	@.venv/bin/python scripts/demo.py

test: $(DEV)
	@.venv/bin/blemish weights pull dinov2-small smollm2-135m
	@scripts/check

soak: $(DEV)
	@.venv/bin/python benchmarks/station_soak.py $(SOAK)

constraints:
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" scripts/constraints

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo

$(CORE):
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" scripts/install . \
	  "blemish and its libraries, about 1.3 GB on disk, 1 to 3 minutes"
	@rm -f .venv/.installed-* && touch $@

$(DEV): $(CORE)
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" scripts/install '.[dev]' \
	  "the tools for checks and tests, about 450 MB on disk, under a minute"
	@touch $@
