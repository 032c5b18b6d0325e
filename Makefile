# make demo          create the environment, run the whole workflow on the built-in data set
# make test          create the environment, run all tests but the slow ones (`pytest -m slow`)
# make faults        kill stages, read bad files, try hostile inputs; prints totals
# make cluster-test  run the tests that need a Slurm cluster; they skip without one
# make lint          ruff, mypy, snakefmt, snakemake --lint
# make schema        write workflow/schemas/config.schema.json from semples/config/settings/
# make site          write the documentation as HTML into site/, and fail on a broken link
# make bench         measure speed and size, write performance.md; VOCDEVKIT=path measures on real photographs
# make notebook      write examples/masks_from_labels.ipynb from the script beside it, with its outputs
# make screenshots   take the pictures of the pages in docs/images, from results/mini; needs Chromium or Chrome
# make dist          build the wheel and the source archive of a release into dist/
# make clean         remove the environment; results stay
SHELL := bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
FAULTS := tests/faults tests/data tests/weights tests/stages/test_hostile_inputs.py tests/stages/test_other_files.py tests/packaging/test_quoting.py
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test faults cluster-test lint schema site bench notebook screenshots dist env clean

env: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Python {v[0]}.{v[1]} is not supported. Use 3.11 or 3.12: make PYTHON=python3.12")'
	@echo "== installing into $(VENV): once, about 6 GB, a few minutes"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[report,slurm,mask2former,sam,export,docs,dev]'
	@touch $(STAMP)

demo: env
	@echo "== semples plan --calibrate 5: measures this machine, and prints what the run takes"
	@semples plan --calibrate 5 --at-once "$$(getconf _NPROCESSORS_ONLN)"
	@echo "== snakemake --cores all"
	@snakemake --cores all
	@echo "== snakemake --report results/mini/report.html"
	@snakemake --report results/mini/report.html > results/mini/logs/report.log 2>&1
	@echo
	@cat results/mini/tables/results.md
	@echo
	@echo "Words nearest to the learned prompts:"
	@cat results/mini/tables/words.md
	@echo
	@echo "report   results/mini/report.html"
	@echo "CAMs     results/mini/cams/csr-learned/seed0/cams.h5"
	@echo "figures  results/mini/figures/panel.png"
	@echo "         results/mini/figures/thresholds.png"
	@echo "         results/mini/figures/training.png"
	@echo "masks    results/mini/crf/csr-learned/seed0/masks/"

test: env
	@echo "== pytest"
	@pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

faults: env
	@echo "== pytest: faults of machines, bad files, hostile inputs"
	@pytest -q -m 'not cluster' --hypothesis-profile faults $(FAULTS)

cluster-test: env
	pytest -m cluster tests/cluster

lint: env
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check workflow
	snakemake --lint

schema: env
	semples config --schema > workflow/schemas/config.schema.json

site: env
	sphinx-build --fail-on-warning --keep-going --quiet --fresh-env docs site
	@echo "== site/index.html"

bench: env
	python -m benchmarks $(if $(VOCDEVKIT),--data "$$VOCDEVKIT") $(BENCH)

notebook: env
	python examples/make_notebook.py

screenshots: env
	python docs/images/screenshots.py results/mini docs/images

dist: env
	python -m build --no-isolation

clean:
	rm -rf $(VENV)
