"""mmcv's compiled operators, from torchvision where mmcv was installed without them."""

import sys
import warnings
from importlib import import_module

import torch

from mmfasternet.errors import UserError

__all__ = ['has_compiled_ops', 'provide_ops']

_NAME = 'mmcv._ext'


def provide_ops() -> None:
    """Make ``import mmcv.ops`` work, which every detector needs, also where mmcv has no compiled operators.

    Compiled operators that load are left as they are. Where there are none (mmcv-lite, or mmcv installed by plain pip)
    or they were compiled for another torch, a module takes the place of ``mmcv._ext``. Its RoIAlign, NMS, sigmoid focal
    loss, deformable convolutions and multi-scale deformable attention compute what mmcv's do, on CPUs and GPUs, through
    torchvision or PyTorch; half-precision inputs are computed in float32. Any other operator is refused by its name
    when it is called.

    Call it before the first ``import mmdet``; this project's tools and its runner do.

    Raises:
        UserError: If mmcv has no compiled operators, and torchvision is missing or does not fit the installed torch.

    Example:
        >>> provide_ops()
        >>> from mmcv.ops import nms
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
        >>> nms(boxes, torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.5)[1]
        tensor([0, 2])
    """
    try:
        import_module(_NAME)
        return
    except ModuleNotFoundError:
        pass
    except ImportError as error:
        warnings.warn(f"torchvision replaces mmcv's compiled operators, which cannot be loaded: {error}", stacklevel=2)
    try:
        from .torchvision_ops import TorchvisionOps
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f'mmcv has no compiled operators, and torchvision, which would replace them, cannot be imported ({error}): '
            f'install the torchvision that fits torch {torch.__version__}. The backbone alone works without both.'
        ) from error
    sys.modules[_NAME] = TorchvisionOps(_NAME)


def has_compiled_ops() -> bool:
    """Whether mmcv's compiled operators are in use, instead of what :func:`provide_ops` has put in their place.

    Returns:
        The answer; False if neither has been imported.

    Example:
        >>> type(has_compiled_ops())
        <class 'bool'>
    """
    # What is imported from a file; the module that stands in has none.
    return hasattr(sys.modules.get(_NAME), '__file__')
