"""RT-DETR or D-FINE of transformers on a FasterNet, with the weights of a backbone that was trained here.

python tools/convert_checkpoint.py CHECKPOINT fasternet_t0.safetensors --to timm --prefix backbone
python docs/examples/fasternet_transformers.py rt_detr fasternet_t0 fasternet_t0.safetensors --classes 80

It needs transformers and timm, and neither mmfasternet nor OpenMMLab. Install them in an environment of its own.
"""

import argparse
import re
from pathlib import Path
from types import ModuleType

import safetensors.torch
from torch import nn

# Channels of the first of four feature maps; each of the others has twice as many as the one before it.
CHANNELS = dict(fasternet_t0=40, fasternet_t1=64, fasternet_t2=96, fasternet_s=128, fasternet_m=144, fasternet_l=192)


def build_detector(transformers: ModuleType, kind: str, name: str, classes: int) -> nn.Module:
    """Build a detector on a FasterNet, with random weights.

    Args:
        transformers: The package.
        kind: 'rt_detr' or 'd_fine'.
        name: The network in timm, such as 'fasternet_t0'.
        classes: Number of classes.

    Returns:
        The model; its backbone is ``model.model.backbone.model``.
    """
    prefix = dict(rt_detr='RTDetr', d_fine='DFine')[kind]
    config = getattr(transformers, f'{prefix}Config')(
        # The maps of strides 8, 16 and 32.
        backbone_config=transformers.TimmBackboneConfig(backbone=name, out_indices=(1, 2, 3)),
        encoder_in_channels=[CHANNELS[name] * 2**stage for stage in (1, 2, 3)],
        num_labels=classes,
    )
    return getattr(transformers, f'{prefix}ForObjectDetection')(config)


def load_backbone(backbone: nn.Module, file: str | Path) -> None:
    """Load a file of timm's keys into a ``TimmBackbone`` that is built, completely or with an error.

    Not by ``pretrained=True``: transformers 5.24 resets the statistics of every BN after timm has loaded them.

    Args:
        backbone: What ``AutoBackbone.from_config`` built of a ``TimmBackboneConfig``, or the backbone of a detector.
        file: What ``convert_checkpoint.py --to timm`` wrote, ``.safetensors``.
    """
    expected, weights = backbone.state_dict(), {}
    for key, value in safetensors.torch.load_file(file).items():
        renamed = '_backbone.' + re.sub(r'^stages\.', 'stages_', key)
        # Frozen BN, which RT-DETR and D-FINE make of BN, counts no batches; a classifier has no place in a backbone.
        if renamed in expected or not key.endswith('.num_batches_tracked') and not key.startswith(('conv_', 'class')):
            weights[renamed] = value
    backbone.load_state_dict(weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=('rt_detr', 'd_fine'), help='the detector')
    parser.add_argument('name', choices=tuple(CHANNELS), help="the network's name in timm")
    parser.add_argument('weights', help='file that convert_checkpoint.py --to timm wrote, .safetensors')
    parser.add_argument('--classes', type=int, default=80, help='number of classes; default: 80')
    args = parser.parse_args()

    import torch
    import transformers

    detector = build_detector(transformers, args.kind, args.name, args.classes).eval()
    load_backbone(detector.model.backbone.model, args.weights)
    with torch.no_grad():
        found = detector(torch.rand(1, 3, 640, 640))
    print(f'{type(detector).__name__}: {sum(one.numel() for one in detector.parameters()) / 1e6:.1f} M parameters')
    print('logits', tuple(found.logits.shape), 'boxes', tuple(found.pred_boxes.shape))


if __name__ == '__main__':
    main()
