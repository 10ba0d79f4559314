"""Box and mask AP of an exported detector through ONNX Runtime, on the data that its config is tested on.

    python docs/examples/ap_onnx.py CONFIG detector.onnx

Only for a config that does not resize its pictures, as the demo's: the graph finds objects in the pixels it is given.
"""

import sys

import onnxruntime
import torch
from mmdet.evaluation import CocoMetric  # noqa: F401, registers what the config names
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.progress import track

from mmfasternet.config import load_config

config, model = sys.argv[1:]
cfg = load_config(config)
init_default_scope('mmdet')
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
loader = Runner.build_dataloader(cfg.test_dataloader)
evaluator = Evaluator(cfg.test_evaluator)
evaluator.dataset_meta = loader.dataset.metainfo

for batch in track(loader, 'testing'):
    for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
        if tuple(sample.scale_factor) != (1.0, 1.0):
            sys.exit(f'error: {config} resizes its pictures by {sample.scale_factor}; take one that does not')
        # mmdet loads blue, green, red.
        found = session.run(['boxes', 'scores', 'labels', 'masks'], {'image': image.flip(0)[None].float().numpy()})
        boxes, scores, labels, masks = map(torch.from_numpy, found)
        sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels, masks=masks)
    evaluator.process(batch['data_samples'], batch)
for name, value in evaluator.evaluate(len(loader.dataset)).items():
    print(name, value)
