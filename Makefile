# Two commands: `make book` and `make test`. Both are safe to repeat and to interrupt.
PROFILE ?= quick
MINUTES ?= 60
PYTHON ?= python3
BIN := .venv/bin
BUILT := build/.book
SOURCES := $(shell git ls-files -co --exclude-standard -- book notebooks fragility lab claims results _config.yml _toc.yml matplotlibrc 2>/dev/null)

.PHONY: book pdf test notebooks benchmarks gpu archive lint clean help

help:
	@echo "make book [PROFILE=quick|edition|paper]  run every notebook and build the book"
	@echo "make pdf          the whole book as build/book.pdf, printed by Chromium (builds the book first if it is out of date)"
	@echo "make test         package, notebooks and built book (builds the book first if it is out of date)"
	@echo "make notebooks    keep the executed quick-scale notebooks as the committed ones"
	@echo "make benchmarks   ratios of speed against Captum and SciPy"
	@echo "make gpu [MINUTES=60]  on a machine with a GPU: tests, notebooks, benchmarks, cells of the papers' scale"
	@echo "make archive      claims, records, notebooks and environment as an RO-Crate in build/"
	@echo "make lint         ruff, pyright on the instrument, workflow files against their schema"
	@echo "make clean        remove the environment and everything built"

# The stamp is written last, so an interrupted install is taken up again.
.venv/.installed: requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	@touch $@

book: .venv/.installed
	$(BIN)/python -m lab book --profile $(PROFILE)
	@touch $(BUILT)

$(BUILT): .venv/.installed $(SOURCES)
	$(BIN)/python -m lab book
	@touch $@

pdf: $(BUILT)
	$(BIN)/python -m lab pdf

test: $(BUILT)
	$(BIN)/python -m pytest --durations=10
	FRAGILITY_STORE="$${FRAGILITY_STORE:-$$(mktemp -d)}" $(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=1200 \
		-p no:cacheprovider $$($(BIN)/python -c "from lab.book import notebooks; print(*(f'notebooks/{n}.ipynb' for n in notebooks()))")

notebooks: book
	cp build/executed/*.ipynb notebooks/

benchmarks: .venv/.installed
	$(BIN)/python -m benchmarks

gpu: .venv/.installed
	$(BIN)/python -m lab gpu --minutes $(MINUTES)

archive: .venv/.installed
	$(BIN)/python -m lab.archive

lint: .venv/.installed
	$(BIN)/ruff check fragility lab tests benchmarks notebooks
	$(BIN)/pyright
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

clean:
	rm -rf .venv .venv-workflow .snakemake build fragility.egg-info .pytest_cache .ruff_cache .hypothesis
