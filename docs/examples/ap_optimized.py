"""Box and mask AP of a trained detector in its inference form, on the data that its config is tested on.

python docs/examples/ap_optimized.py CONFIG CHECKPOINT
"""

import argparse

from mmengine.registry import RUNNERS

from mmfasternet.deploy import optimize_for_inference
from mmfasternet.engine.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='its weights')
    args = parser.parse_args()

    cfg = load_config(args.config)
    cfg.load_from = args.checkpoint
    runner = RUNNERS.build(cfg)
    # Before the model is replaced: its inference form has other entries than the checkpoint.
    runner.load_or_resume()
    runner.model = optimize_for_inference(runner.model)
    for name, value in runner.test().items():
        print(name, value)


if __name__ == '__main__':
    main()
