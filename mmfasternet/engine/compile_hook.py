"""A hook that compiles the backbone."""

import os
import shutil
from importlib.util import find_spec

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmfasternet.errors import UserError

__all__ = ['CompileBackboneHook']


@HOOKS.register_module()
class CompileBackboneHook(Hook):
    """Compile the backbone by ``torch.compile`` before a run; everything else stays as it is.

    mmengine's ``compile=True`` compiles the complete training step, which a detector's images of changing size and its
    lists of boxes interrupt and repeat. The state-dict keys stay the same.

    Args:
        dynamic: Whether sizes of images may change without a new compilation. None lets torch decide: the second size
            that it meets makes sizes dynamic. Defaults to None.

    Raises:
        UserError: If this torch can't compile a module, or it lacks a compiler.

    Example:
        >>> CompileBackboneHook(dynamic=True).dynamic
        True
    """

    def __init__(self, dynamic: bool | None = None) -> None:
        self.dynamic = dynamic

    def before_run(self, runner: Runner) -> None:
        """Compile it."""
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        if not isinstance(getattr(model, 'backbone', None), nn.Module):
            raise UserError(f'CompileBackboneHook: {type(model).__name__} has no backbone; remove the hook')
        _check_compiler(next(model.parameters()).device.type)
        model.backbone.compile(dynamic=self.dynamic)


def _check_compiler(device: str) -> None:
    """Make sure that torch finds what it compiles with, before a minute has passed."""
    if not hasattr(nn.Module, 'compile'):
        raise UserError(f'CompileBackboneHook: torch {torch.__version__} has no nn.Module.compile; remove the hook')
    if device == 'cpu':
        compilers = [os.environ.get('CXX', 'g++')]
    else:
        compilers = [os.environ['CC']] if 'CC' in os.environ else ['gcc', 'clang']
        if find_spec('triton') is None:
            raise UserError('CompileBackboneHook needs Triton on a GPU: pip install triton, or remove the hook')
    if not any(map(shutil.which, compilers)):
        raise UserError(f'CompileBackboneHook needs {" or ".join(compilers)}: install it, or remove the hook')
