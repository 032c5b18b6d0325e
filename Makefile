# make demo   environment, then the whole pipeline on the embedded default
# make test   environment, then all tests
# make cluster-test  tests on a real Slurm; they skip where none answers
# make lint   ruff, snakefmt, snakemake --lint
# make schema workflow/schemas/config.schema.json from semples/config/settings/
# make bench  docs/performance.md: speed and size against the published way; VOCDEVKIT=path for real photographs
# make clean  remove the environment (results stay)
SHELL := bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test cluster-test lint schema bench env clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	@echo "== installing into $(VENV) (a few minutes, about 6 GB, once)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[report,slurm,mask2former,export,dev]'
	@touch $(STAMP)

demo: env
	@echo "== snakemake --cores all"
	@snakemake --cores all
	@echo "== snakemake --report results/mini/report.html"
	@snakemake --report results/mini/report.html > results/mini/logs/report.log 2>&1
	@echo
	@cat results/mini/tables/results.md
	@echo
	@echo "words nearest to the learned prompts"
	@cat results/mini/tables/words.md
	@echo
	@echo "report      results/mini/report.html"
	@echo "CAMs        results/mini/cams/csr-learned/seed0/cams.h5"
	@echo "pictures    results/mini/figures/panel.png"
	@echo "            results/mini/figures/thresholds.png"
	@echo "            results/mini/figures/training.png"
	@echo "masks       results/mini/crf/csr-learned/seed0/masks/"

test: env
	@echo "== pytest"
	@pytest --numprocesses 2 --dist loadfile

cluster-test: env
	pytest -m cluster tests/cluster

lint: env
	ruff check .
	ruff format --check .
	snakefmt --check workflow
	snakemake --lint

schema: env
	semples config --schema > workflow/schemas/config.schema.json

bench: env
	python -m benchmarks $(if $(VOCDEVKIT),--data '$(VOCDEVKIT)') $(BENCH)

clean:
	rm -rf $(VENV)
