"""Box and mask AP of a trained detector, optimized for inference, on the test data of its config.

python docs/examples/ap_optimized.py CONFIG CHECKPOINT
"""

import argparse

from mmfasternet.deploy import optimize_for_inference
from mmfasternet.engine.config import load_config
from mmfasternet.engine.runner import StrictRunner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='path or URL of a checkpoint')
    args = parser.parse_args()

    cfg = load_config(args.config)
    cfg.load_from = args.checkpoint
    runner = StrictRunner.from_cfg(cfg)
    # Before the model is replaced, since the optimized one has other entries than the checkpoint.
    runner.load_or_resume()
    runner.model = optimize_for_inference(runner.model)
    for name, value in runner.test().items():
        print(name, value)


if __name__ == '__main__':
    main()
