"""Two images with objects, for tests that train a detector for a step."""

import numpy as np
import torch
from mmengine.structures import InstanceData


def two_images(with_masks: bool = True) -> dict:
    """A batch as mmdet's pipelines give it: 64 × 96 pixels, two boxes in each, and their masks if wanted."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    boxes = torch.tensor([[8.0, 8.0, 56.0, 48.0], [40.0, 20.0, 90.0, 60.0]])
    masks = np.zeros((2, 64, 96), dtype=np.uint8)
    masks[0, 8:48, 8:56] = masks[1, 20:60, 40:90] = 1
    objects = InstanceData(bboxes=boxes, labels=torch.tensor([3, 7]))
    if with_masks:
        objects.masks = BitmapMasks(masks, 64, 96)
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0)))
        # RTMDet-Ins turns the masks of each into a tensor.
        sample.gt_instances = objects.clone()
        samples.append(sample)
    return dict(inputs=list(torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)), data_samples=samples)
