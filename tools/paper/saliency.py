"""The T shape (the paper's Sec. 3.3 and Fig. 6): where 3×3 filters have their largest norm, trained and random ones.

Takes the checkpoint of any model. Without one, it is a ResNet-18 detector that is trained here on generated pictures,
which takes two cores some minutes. Stopped at any point, the same command goes on from there.
"""

import argparse
from pathlib import Path

from mmfasternet.benchmark.paper.command import new_parser, run_study
from mmfasternet.errors import one_sentence_errors, require_ops


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'saliency', 'train for one epoch on a dozen pictures')
    parser.add_argument('--checkpoint', help='path or address of any weights; default: a ResNet-18 trained here')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.benchmark.paper.saliency.measure import measure_saliency
    from mmfasternet.benchmark.paper.saliency.report import write_saliency
    from mmfasternet.benchmark.paper.subject import train_once

    def measure(records: Path) -> dict:
        if args.checkpoint:
            return measure_saliency(args.checkpoint, Path(args.checkpoint).name, records)
        run = train_once('trained_resnet18', args.quick)
        return measure_saliency(run.checkpoint(), run.row.name, records)

    run_study('saliency', args, measure, write_saliency)


if __name__ == '__main__':
    with one_sentence_errors():
        main()
