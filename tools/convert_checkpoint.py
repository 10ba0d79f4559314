"""Write the FasterNet of any checkpoint to a small file: the authors', timm's or a detector's, weights alone."""

import argparse
from pathlib import Path

from mmfasternet.errors import exit_on_user_error
from mmfasternet.models.to_timm import save_for_timm
from mmfasternet.weights.convert import save_backbone
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='path or URL of the checkpoint')
    parser.add_argument('target', type=Path, help='file to write, .pth or .safetensors')
    parser.add_argument('--prefix', help='where in the source the backbone lies, such as encoder; default: found')
    parser.add_argument(
        '--to',
        choices=('mmfasternet', 'timm'),
        default='mmfasternet',
        help='whose keys: mmfasternet (the backbone), or timm (with the classifier if there is one); '
        'default: mmfasternet',
    )
    add_trust_checkpoint(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    trust_checkpoints(args.trust_checkpoint)
    notes = []
    if args.to == 'timm':
        written = save_for_timm(args.source, args.target, args.prefix)
        entries, notes = written.entries, written.notes(args.target)
    else:
        entries = save_backbone(args.source, args.target, args.prefix)
    print(f'{args.target}: {entries} entries, {args.target.stat().st_size / 1e6:.1f} MB', *notes, sep='\n')


if __name__ == '__main__':
    with exit_on_user_error():
        main()
