"""Detect objects in an image with an exported detector: ONNX Runtime, numpy and Pillow, no PyTorch.

python tools/export.py CONFIG --checkpoint CHECKPOINT --out detector.onnx
python docs/examples/detect_onnx.py detector.onnx image.jpg drawn.png
"""

import argparse
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

COLOURS = [(230, 60, 60), (60, 160, 230), (90, 200, 80), (240, 170, 40), (180, 90, 220), (40, 200, 190)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='file that tools/export.py wrote with --part detector')
    parser.add_argument('image', help='image to detect objects in')
    parser.add_argument('out', help='drawn image to write')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score to draw; default: 0.3')
    parser.add_argument(
        '--resize',
        nargs=2,
        type=int,
        metavar=('SHORTER', 'LONGER'),
        help='sides to fit the image into, as the config does; 800 1333 for COCO; default: the image as it is',
    )
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.model, providers=['CPUExecutionProvider'])
    classes = json.loads(session.get_modelmeta().custom_metadata_map['classes'])
    # A camera may store an image on its side, with a note that says so.
    image = ImageOps.exif_transpose(Image.open(args.image)).convert('RGB')
    if args.resize:
        image = fit(image, *args.resize)

    # Height, width, channels → one image of channels, height, width. The graph normalizes and pads.
    pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None]
    boxes, scores, labels, masks = session.run(['boxes', 'scores', 'labels', 'masks'], {'image': pixels})

    shown = scores >= args.score_thr
    for box, score, label in zip(boxes[shown], scores[shown], labels[shown], strict=True):
        name = classes[label] if classes else f'class {label}'
        print(f'{name} {score:.2f} at', ' '.join(f'{side:.1f}' for side in box))
    draw(image, boxes[shown], labels[shown], masks[shown]).save(args.out)
    print(f'{shown.sum()} objects drawn in {args.out}')


def fit(image: Image.Image, shorter: int, longer: int) -> Image.Image:
    """Scale an image until one side reaches its limit."""
    scale = min(shorter / min(image.size), longer / max(image.size))
    return image.resize([int(side * scale + 0.5) for side in image.size], Image.Resampling.BILINEAR)


def draw(image: Image.Image, boxes: np.ndarray, labels: np.ndarray, masks: np.ndarray) -> Image.Image:
    """Tint each object's pixels, and draw its box, in the colour of its class."""
    pixels = np.array(image)
    for label, mask in zip(labels, masks, strict=True):
        pixels[mask] = pixels[mask] // 2 + np.array(COLOURS[label % len(COLOURS)], np.uint8) // 2
    drawn = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    for box, label in zip(boxes, labels, strict=True):
        pen.rectangle(box.tolist(), outline=COLOURS[label % len(COLOURS)], width=2)
    return drawn


if __name__ == '__main__':
    main()
