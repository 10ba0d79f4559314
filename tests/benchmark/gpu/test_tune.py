"""The tiles of the fused kernel: what a GPU's run must survive."""

import os
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

pytest.importorskip('triton', reason='Triton is not installed')
if torch.__version__ < '2.6':
    pytest.skip(f'the Triton of torch {torch.__version__} is too old, that of 2.6 is not', allow_module_level=True)

from mmfasternet.benchmark.gpu import tune  # noqa: E402


def die(*_: object) -> None:
    os._exit(1)


def test_a_process_that_dies_while_it_compiles_is_an_error(monkeypatch):
    """A pool of multiprocessing would wait for it without end."""
    monkeypatch.setattr(tune, '_compile', die)
    monkeypatch.setattr(tune, '_PROCESSES', 1)
    with pytest.raises(BrokenProcessPool):
        next(tune.tune_blocks('t0', 'cpu'))
