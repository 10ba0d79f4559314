# SET picks the packages, onedl or openmmlab; VENV says where their environment goes.
SET ?= onedl
VENV ?= $(if $(filter onedl,$(SET)),.venv,.venv-$(SET))
PYTHON_OF = "$(VENV)/bin/python"

# The first line of most targets: it makes the environment, or adds to it what is missing, or does nothing.
MAKE_ENV = @requirements/make_env.sh "$(SET)" "$(VENV)"

# Any text makes a benchmark a short one.
QUICK ?=

# Of compare-trained: the number of seeds, and the data (shapes or coco).
SEEDS ?= 1
DATA ?= shapes

# More arguments of compare's, compare-trained's or artifacts' tool.
ARGS ?=

# Tests run side by side on all cores, at most four; a file's tests stay together, since they share what they build.
# The slowest are named.
SIDE_BY_SIDE = -n auto --maxprocesses 4 --dist loadfile --durations=25 --durations-min=5

# The detector of web-demo's page, a file that tools/export.py wrote.
MODEL ?= detector.onnx

# Which of the paper's experiments run, one after the other.
EXPERIMENTS ?= operators saliency redundancy approximation ablation

.PHONY: help env ops demo demo-seg test test-slow test-page test-guide test-exports compare compare-trained engines \
	artifacts gpu paper web-demo docs lint

help:
	@echo "make demo             train, test and draw a small Mask R-CNN with FasterNet on generated images"
	@echo "make demo-seg         the same with Semantic FPN, for semantic segmentation"
	@echo "make test             run the tests, except the slow ones"
	@echo "make test-slow        run the slow tests and the doctests: several processes, kills and resumes, engines, int8"
	@echo "make test-page        test the HTML pages in Chromium, which must be installed"
	@echo "make test-guide       run every command of the guide for your own data"
	@echo "make test-exports     export every config, and compare the files with PyTorch in two runtimes"
	@echo "make compare          latency against published AP: count, measure, draw (QUICK=1: minutes, small images)"
	@echo "make compare-trained  latency against AP trained here: eight backbones, one budget (SEEDS=3, DATA=coco, QUICK=1)"
	@echo "make engines          FasterNet in every engine beside timm's (QUICK=1: minutes, small images)"
	@echo "make artifacts        the demo's detector as files in their runtimes: AP, latency, start, memory (QUICK=1: minutes)"
	@echo "make gpu              FasterNet on one NVIDIA GPU, a quarter of an hour (QUICK=1: a rehearsal on the CPU, minutes)"
	@echo "make paper            the paper's experiments, or some: EXPERIMENTS='saliency ablation' (QUICK=1: minutes)"
	@echo "make web-demo         run an exported detector in a browser: MODEL=detector.onnx (needs npm)"
	@echo "make docs             build the documentation as a site, site/index.html: a broken link or reference fails"
	@echo "make lint             check the code's style"
	@echo "make env              make the environment with what all of the others need (they make it themselves)"
	@echo "make ops              compile mmcv's own operators into it, in place of torchvision's (needs g++; with a GPU, nvcc)"
	@echo "SET=onedl|openmmlab picks the packages, VENV=folder the environment."

env:
	$(MAKE_ENV) tests compare export lint docs

ops:
	$(MAKE_ENV)
	@requirements/make_ops.sh "$(SET)" "$(VENV)"

demo:
	$(MAKE_ENV)
	$(PYTHON_OF) tools/demo.py

demo-seg:
	$(MAKE_ENV)
	$(PYTHON_OF) tools/demo.py segmentation

test:
	$(MAKE_ENV) tests compare export
	$(PYTHON_OF) -m pytest $(SIDE_BY_SIDE)

test-slow:
	$(MAKE_ENV) tests compare export
	$(PYTHON_OF) -m pytest $(SIDE_BY_SIDE) -m slow
	$(PYTHON_OF) -m pytest $(SIDE_BY_SIDE) --doctest-modules mmfasternet

test-page:
	$(MAKE_ENV) tests compare export
	$(PYTHON_OF) -m pytest -m page

test-guide:
	$(MAKE_ENV) tests compare export
	$(PYTHON_OF) -m pytest -m guide

test-exports:
	$(MAKE_ENV) tests compare export
	$(PYTHON_OF) -m pytest $(SIDE_BY_SIDE) --dist load -m exports

compare:
	$(MAKE_ENV) compare
	$(PYTHON_OF) tools/benchmark/compare.py $(if $(QUICK),--quick) $(ARGS)

compare-trained:
	$(MAKE_ENV) compare
	$(PYTHON_OF) tools/benchmark/compare_trained.py --data $(DATA) --seeds $(SEEDS) $(if $(QUICK),--quick) $(ARGS)

engines:
	$(MAKE_ENV) compare export
	$(PYTHON_OF) tools/benchmark/engines.py $(if $(QUICK),--quick)

artifacts:
	$(MAKE_ENV) compare export
	$(PYTHON_OF) tools/benchmark/artifact.py $(if $(QUICK),--quick) $(ARGS)

gpu:
	$(MAKE_ENV) compare
	$(PYTHON_OF) tools/benchmark/gpu.py $(if $(QUICK),--device cpu --quick)

paper:
	$(MAKE_ENV) compare
	set -e; for name in $(EXPERIMENTS); do echo "paper: $$name"; $(PYTHON_OF) tools/paper/$$name.py $(if $(QUICK),--quick); done

web-demo:
	@docs/examples/web/build.sh "$(MODEL)" work_dirs/web_demo
	python3 -m http.server --bind 127.0.0.1 --directory work_dirs/web_demo 8000

docs:
	$(MAKE_ENV) docs
	NO_MKDOCS_2_WARNING=1 "$(VENV)/bin/mkdocs" build --strict
	NO_MKDOCS_2_WARNING=1 "$(VENV)/bin/mkdocs" build --strict --config-file mkdocs.zh.yml

lint:
	$(MAKE_ENV) lint
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/pre-commit" validate-config
