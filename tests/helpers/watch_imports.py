"""A program: import modules one after the other, and print what each changes for everybody else in the process.

    python watch_imports.py '["modules", "to", "watch"]' '["what", "they", "import"]'

What they import comes first, so that its own changes are not theirs. The answer is JSON: module → the settings that it
changed, a list, or the name of the package that it misses; '' → the functions of others that they replaced.
"""

import atexit
import contextlib
import importlib
import json
import logging
import os
import random
import signal
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import matplotlib
import mmcv  # noqa: F401
import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader
from torch.backends import cudnn

from mmfasternet.engine.ops import provide_ops

# As a tool does before it imports what needs mmdet.
provide_ops()

# Whose functions and methods nobody replaces.
WATCHED = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'torch', 'numpy', 'timm')


def settings() -> dict[str, Any]:
    """Everything global that a module could set in passing."""
    loggers = [logging.root, *(item for item in logging.root.manager.loggerDict.values() if hasattr(item, 'handlers'))]
    return {
        'loaders of checkpoints': dict(CheckpointLoader._schemes),
        'loggers of mmengine': sorted(MMLogger._instance_dict),
        'scopes of mmengine': sorted(DefaultScope._instance_dict),
        'threads': (torch.get_num_threads(), torch.get_num_interop_threads(), cv2.getNumThreads()),
        'grad mode': (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        'defaults of tensors': (torch.get_default_dtype(), torch.empty(0).device),
        'matmul precision': (torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32),
        'cudnn': (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        'mkldnn': torch._C._get_mkldnn_enabled(),
        'quantized engine': torch.backends.quantized.engine,
        'deterministic algorithms': torch.are_deterministic_algorithms_enabled(),
        'start method': torch.multiprocessing.get_start_method(allow_none=True),
        'random numbers': (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()),
        'numpy errors': (np.geterr(), np.get_printoptions()),
        'logging': {log.name: (log.level, log.disabled, log.handlers[:], log.filters[:]) for log in loggers},
        'logging off': logging.root.manager.disable,
        'warnings': warnings.filters[:],
        'environment': dict(os.environ),
        'working directory': os.getcwd(),
        'path': sys.path[:],
        'hooks': (sys.excepthook, sys.displayhook, sys.meta_path[:], sys.path_hooks[:], warnings.showwarning),
        'streams': (sys.stdout, sys.stderr, sys.stdin),
        'at exit': atexit._ncallbacks(),
        'signals': {number: signal.getsignal(number) for number in signal.valid_signals()},
        'matplotlib': dict(matplotlib.rcParams.copy()),
    }


def functions() -> dict[Any, dict[str, Any]]:
    """Module or class → its functions, classes and methods, of the watched packages as far as they are loaded."""
    modules = [module for name, module in list(sys.modules.items()) if name.partition('.')[0] in WATCHED]
    found = {module: callables(module) for module in modules}
    for module in modules:
        found.update({value: callables(value) for value in found[module].values() if isinstance(value, type)})
    return found


def callables(owner: Any) -> dict[str, Any]:
    kinds = (types.FunctionType, classmethod, staticmethod, property, type)
    return {name: value for name, value in list(vars(owner).items()) if isinstance(value, kinds)}


def replaced(before: dict, after: dict) -> Iterator[str]:
    """Functions that are others now, and methods that a class has newly got."""
    for owner, originals in before.items():
        for name, value in after[owner].items():
            # What a module has newly got is what it loads when it is first asked for it.
            if originals.get(name) is not value and (name in originals or isinstance(owner, type)):
                yield f'{getattr(owner, "__qualname__", owner.__name__)}.{name}'


def missing_package(error: BaseException | None) -> str | None:
    """The package behind an import that failed, however it was reported."""
    while error and not (isinstance(error, ModuleNotFoundError) and error.name):
        error = error.__cause__ or error.__context__
    return error and error.name.partition('.')[0]


def watch(names: list[str]) -> dict[str, list[str] | str]:
    """Import modules; of each what it set, or the package that it misses. What all have replaced stands under ''."""
    found = {}
    originals, before = functions(), settings()
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            found[name] = missing_package(error)
            if found[name] is None:
                raise
        else:
            after = settings()
            found[name] = [key for key, value in before.items() if after[key] != value]
            before = after
    found[''] = sorted(replaced(originals, functions()))
    return found


if __name__ == '__main__':
    modules, needed = map(json.loads, sys.argv[1:])
    for other in needed:
        with contextlib.suppress(ImportError):
            importlib.import_module(other)
    print(json.dumps(watch(modules)))
