"""Write the FasterNet of any checkpoint (the authors', timm's, a detector's) as a small file of weights alone."""

import argparse
from pathlib import Path

from mmfasternet.errors import one_sentence_errors
from mmfasternet.weights.convert import save_backbone


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='checkpoint file, or its address')
    parser.add_argument('target', type=Path, help='file to write, .pth or .safetensors')
    parser.add_argument('--prefix', help='where in the file the backbone lies; default: found')
    parser.add_argument('--trust-checkpoint', action='store_true', help='unpickle anything that the source asks for')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    entries = save_backbone(args.source, args.target, args.prefix, args.trust_checkpoint)
    print(f'{args.target}: {entries} entries, {args.target.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
