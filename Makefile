# SET picks the packages, onedl or openmmlab; VENV says where their environment goes.
SET ?= onedl
VENV ?= $(if $(filter onedl,$(SET)),.venv,.venv-$(SET))

# Any text makes the comparison, or the benchmark, a short one.
QUICK ?=

# Of the study: how many seeds, which data (shapes or coco), and more arguments of tools/study.py.
SEEDS ?= 1
DATA ?= shapes
ARGS ?=

# Which of the paper's studies of PConv run, one after the other.
STUDIES ?= operators saliency redundancy approximation ablation

.PHONY: help env demo demo-seg test test-slow test-page test-guide compare bench study studies lint

help:
	@echo "make demo    train, test and draw a small Mask R-CNN with FasterNet on generated pictures"
	@echo "make demo-seg  the same with Semantic FPN, for semantic segmentation"
	@echo "make test    run the tests, but for the slow ones"
	@echo "make test-slow  run the slow ones: several processes, kills and resumes, engines, int8"
	@echo "make compare count, measure and draw the latency-vs-mAP comparison (QUICK=1: minutes, on small pictures)"
	@echo "make bench   measure FasterNet in every engine beside timm's (QUICK=1: minutes, on small pictures)"
	@echo "make study   train eight backbones under one budget and draw latency against AP (SEEDS=3, DATA=coco, QUICK=1)"
	@echo "make studies run the paper's studies of PConv, or those of STUDIES='saliency ablation' (QUICK=1: minutes)"
	@echo "make test-page  test the comparison's page in Chromium, which must be there"
	@echo "make test-guide run every command of the guide for your own data"
	@echo "make lint    check the code's style"
	@echo "make env     make the environment that the others need (they make it themselves if it is missing)"
	@echo "SET=onedl|openmmlab picks the packages, VENV=folder the environment."

env:
	@requirements/make_env.sh "$(SET)" "$(VENV)"

demo: env
	"$(VENV)/bin/python" tools/demo.py

demo-seg: env
	"$(VENV)/bin/python" tools/demo.py segmentation

test: env
	"$(VENV)/bin/python" -m pytest

test-slow: env
	"$(VENV)/bin/python" -m pytest -m slow

test-page: env
	"$(VENV)/bin/python" -m pytest -m page

test-guide: env
	"$(VENV)/bin/python" -m pytest -m guide

compare: env
	"$(VENV)/bin/python" tools/compare.py $(if $(QUICK),--quick)

bench: env
	"$(VENV)/bin/python" tools/engines.py $(if $(QUICK),--quick)

study: env
	"$(VENV)/bin/python" tools/study.py --data $(DATA) --seeds $(SEEDS) $(if $(QUICK),--quick) $(ARGS)

studies: env
	set -e; for study in $(STUDIES); do echo "studies: $$study"; "$(VENV)/bin/python" tools/studies/$$study.py $(if $(QUICK),--quick); done

lint: env
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/pre-commit" validate-config
