"""FasterNet in torch.hub: the backbones, with random, released or given weights.

import torch
model = torch.hub.load('path/to/this/clone', 'fasternet_t0', source='local', pretrained=True)
"""

from collections.abc import Callable as _Callable
from collections.abc import Sequence as _Sequence
from pathlib import Path as _Path

# With underscores, since torch.hub lists every other callable of this file.
from mmengine.model import initialize as _initialize

from mmfasternet import FasterNet as _FasterNet
from mmfasternet.errors import UserError as _UserError
from mmfasternet.models.variants import VARIANTS as _VARIANTS
from mmfasternet.weights import load_pretrained as _load_pretrained

dependencies = ['torch', 'mmengine', 'mmcv', 'safetensors']


def _entry(arch: str) -> _Callable[..., _FasterNet]:
    def build(
        pretrained: bool = False,
        checkpoint: str | _Path | None = None,
        out_indices: _Sequence[int] = (0, 1, 2, 3),
        out_norm: bool = True,
    ) -> _FasterNet:
        if pretrained and checkpoint is not None:
            raise _UserError('pass pretrained=True (the released weights) or checkpoint=FILE, not both')
        source = _VARIANTS[arch].checkpoint if pretrained else checkpoint
        model = _FasterNet(arch, out_indices=out_indices, out_norm=out_norm)
        # What init_weights does, without its list of all parameters in the log.
        _initialize(model, model.init_cfg)
        if source is not None:
            _load_pretrained(model, source)
        return model

    build.__name__ = build.__qualname__ = f'fasternet_{arch}'
    build.__doc__ = f"""FasterNet-{_VARIANTS[arch].label} as a backbone.

    Args:
        pretrained: Whether to load the authors' ImageNet weights, which are downloaded once. Defaults to False.
        checkpoint: Path or URL of other weights: of the authors, of timm, or of a training with mmfasternet. They fit
            in every entry of the backbone, or raise an error. None keeps random weights. Defaults to None.
        out_indices: Stages whose feature maps are returned, from 0 (stride 4) to 3 (stride 32).
            Defaults to (0, 1, 2, 3).
        out_norm: Whether each output has a norm of its own. Defaults to True.

    Returns:
        The model, in training mode. It takes images of shape (N, 3, H, W) and returns a tuple of feature maps.
    """
    return build


fasternet_t0 = _entry('t0')
fasternet_t1 = _entry('t1')
fasternet_t2 = _entry('t2')
fasternet_s = _entry('s')
fasternet_m = _entry('m')
fasternet_l = _entry('l')
