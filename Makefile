# SET picks the packages, onedl or openmmlab; VENV says where their environment goes.
SET ?= onedl
VENV ?= $(if $(filter onedl,$(SET)),.venv,.venv-$(SET))

.PHONY: help env demo test lint

help:
	@echo "make demo    train, test and draw a small Mask R-CNN with FasterNet on generated pictures"
	@echo "make test    run the tests"
	@echo "make lint    check the code's style"
	@echo "make env     make the environment that the others need (they make it themselves if it is missing)"
	@echo "SET=onedl|openmmlab picks the packages, VENV=folder the environment."

env:
	@requirements/make_env.sh "$(SET)" "$(VENV)"

demo: env
	"$(VENV)/bin/python" tools/demo.py

test: env
	"$(VENV)/bin/python" -m pytest

lint: env
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/pre-commit" validate-config
