"""Box AP, and mask AP if it has masks, of an exported detector in ONNX Runtime, on the data that its config tests on.

    python docs/examples/ap_onnx.py CONFIG detector.onnx

Only for a config that does not resize its images, as the demo's: the graph takes the pixels as they are.
"""

import argparse
import sys

import onnxruntime
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.progress import track

from mmfasternet.engine.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, for its images and annotations')
    parser.add_argument('model', help='file that tools/export.py wrote with --part detector')
    args = parser.parse_args()

    cfg = load_config(args.config)
    # What the config names is found in mmdet.
    init_default_scope('mmdet')
    session = onnxruntime.InferenceSession(args.model, providers=['CPUExecutionProvider'])
    loader = Runner.build_dataloader(cfg.test_dataloader)
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in track(loader, 'testing'):
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            if tuple(sample.scale_factor) != (1.0, 1.0):
                sys.exit(f'error: {args.config} resizes its images by {sample.scale_factor}; use one that does not')
            sample.pred_instances = detect(session, image)
        evaluator.process(batch['data_samples'], batch)
    for name, value in evaluator.evaluate(len(loader.dataset)).items():
        print(name, value)


def detect(session: onnxruntime.InferenceSession, image: torch.Tensor) -> InstanceData:
    """Objects in an image as mmdet loads it: blue, green, red."""
    names = [output.name for output in session.get_outputs()]
    found = map(torch.from_numpy, session.run(names, {'image': image.flip(0)[None].float().numpy()}))
    # mmdet calls the boxes otherwise; a detector without a mask head has no masks.
    return InstanceData(**{name.replace('boxes', 'bboxes'): values for name, values in zip(names, found, strict=True)})


if __name__ == '__main__':
    main()
