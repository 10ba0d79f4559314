"""What mmcv's compiled operators compute on the CPU, kept in a file so that it can be compared without them.

In an environment that has them (`make ops`), `python tests/helpers/mmcv_ops.py` writes the file anew.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).resolve().parents[1] / 'data/mmcv_ops.npz'


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def boxes(count: int, width: int = 96, height: int = 64) -> Tensor:
    """Corners in an image, some of them outside; no two boxes alike."""
    state = np.random.RandomState(count)
    corner, size = state.uniform(-0.1, 0.7, (count, 2)), state.uniform(0.02, 0.6, (count, 2))
    return torch.from_numpy((np.hstack([corner, corner + size]) * [width, height, width, height]).astype(np.float32))


def roi_align(sampling_ratio: int, aligned: bool, count: int = 9) -> dict[str, Tensor]:
    from mmcv.ops import roi_align

    maps = random(2, 3, 16, 24).requires_grad_()
    rois = torch.cat([torch.arange(count)[:, None] % 2, boxes(count)], dim=1)
    pooled = roi_align(maps, rois, (5, 4), 0.25, sampling_ratio, 'avg', aligned)
    pooled.backward(random(*pooled.shape, seed=1))
    return dict(pooled=pooled, maps_grad=maps.grad)


def nms(offset: int, count: int = 60) -> dict[str, Tensor]:
    from mmcv.ops import nms

    scores = torch.from_numpy(np.random.RandomState(1).permutation(count).astype(np.float32)) / max(count, 1)
    found, kept = nms(boxes(count), scores, 0.4, offset=offset)
    return dict(found=found, kept=kept)


def deform_conv(groups: int, deform_groups: int, modulated: bool) -> dict[str, Tensor]:
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    # Sizes and strides that differ in height and width.
    inputs = dict(
        image=random(2, 4, 9, 11),
        offset=random(2, 2 * 6 * deform_groups, 5, 7, seed=1),
        weight=random(8, 4 // groups, 2, 3, seed=2),
        mask=random(2, 6 * deform_groups, 5, 7, seed=3),
        bias=random(8, seed=4),
    )
    image, offset, weight, mask, bias = (value.requires_grad_() for value in inputs.values())
    geometry = ((2, 1), (1, 0), (2, 2), groups, deform_groups)
    if modulated:
        output = modulated_deform_conv2d(image, offset, mask, weight, bias, *geometry)
    else:
        output = deform_conv2d(image, offset, weight, *geometry)
    output.backward(random(*output.shape, seed=5))
    grads = {f'{name}_grad': value.grad for name, value in inputs.items() if value.grad is not None}
    return dict(output=output, **grads)


CASES: dict[str, Callable[[], dict[str, Tensor]]] = {
    **{
        f'roi_align sampling_ratio={ratio} aligned={aligned}': lambda ratio=ratio, aligned=aligned: roi_align(
            ratio, aligned
        )
        for ratio in (0, 2)
        for aligned in (True, False)
    },
    'roi_align of no boxes': lambda: roi_align(0, True, count=0),
    'nms': lambda: nms(0),
    'nms offset=1': lambda: nms(1),
    'nms of no boxes': lambda: nms(0, count=0),
    'deform_conv': lambda: deform_conv(1, 1, modulated=False),
    'deform_conv in groups': lambda: deform_conv(2, 2, modulated=False),
    'modulated_deform_conv': lambda: deform_conv(1, 1, modulated=True),
    'modulated_deform_conv in groups': lambda: deform_conv(2, 2, modulated=True),
}


def read_golden(case: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return {key.split('/')[1]: file[key] for key in file.files if key.split('/')[0] == case}


if __name__ == '__main__':
    import mmcv._ext  # noqa: F401, or else nothing is golden

    np.savez_compressed(
        GOLDEN,
        **{
            f'{case}/{name}': value.detach().numpy()
            for case, compute in CASES.items()
            for name, value in compute().items()
        },
    )
