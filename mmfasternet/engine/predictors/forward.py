"""A segmentor or classifier with strict weights, run on images in memory as its config's test runs it on files."""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from mmfasternet.engine.build import load_model, model_of
from mmfasternet.engine.config import dataset_meta, dataset_tested_on
from mmfasternet.errors import UserError

__all__ = ['Forward']


class Forward:
    """A model with its weights, its classes, and the steps that its config tests with.

    The classes are those of the checkpoint, or else those of the config.

    Args:
        cfg: The config, see :func:`~mmfasternet.engine.config.load_config`.
        checkpoint: The weights, a path or URL.
        device: Such as 'cpu' or 'cuda:0'. None means a GPU if there is one.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the model.
        UserError: If the config has no test data, whose steps are needed.
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str | None) -> None:
        init_default_scope(cfg.default_scope)
        dataset = dataset_tested_on(cfg)
        if 'pipeline' not in dataset:
            raise UserError('the config has no test_dataloader with a pipeline, which tells how images are prepared')
        model = revert_sync_batchnorm(model_of(cfg))
        saved = load_model(model, checkpoint).get('dataset_meta') or {}
        self.model = model.to(device or get_device()).eval()
        self.meta = {**dataset_meta(dataset), **{key: value for key, value in saved.items() if value}}
        # The images are read already, and have no annotations.
        steps = [step for step in dataset['pipeline'] if not str(step['type']).rpartition('.')[2].startswith('Load')]
        self._prepare = Compose(steps)

    def classes(self, number: int) -> list[str]:
        """As many names of classes; the numbers of those without one."""
        names = [str(name) for name in self.meta.get('classes') or ()][:number]
        return names + [str(label) for label in range(len(names), number)]

    @torch.no_grad()
    def __call__(self, images: list[np.ndarray]) -> list[Any]:
        """The samples of images of any sizes; those that the steps bring to one size are run together."""
        groups = defaultdict(list)
        for place, image in enumerate(images):
            size = image.shape[:2]
            packed = self._prepare(dict(img=image, img_shape=size, ori_shape=size))
            groups[packed['inputs'].shape].append((place, packed))
        samples: dict[int, Any] = {}
        for group in groups.values():
            packs = [packed for _, packed in group]
            batch = {key: [packed[key] for packed in packs] for key in ('inputs', 'data_samples')}
            samples.update(zip([place for place, _ in group], self.model.test_step(batch), strict=True))
        return [samples[place] for place in range(len(images))]
