"""Detect objects in an image with an exported detector: ONNX Runtime, numpy and Pillow, no PyTorch.

python tools/export.py CONFIG --checkpoint CHECKPOINT --out detector.onnx
python docs/examples/detect_onnx.py detector.onnx image.jpg drawn.png

To be read, and copied; tools/predict_onnx.py does the same for folders, videos, all tasks and all forms of files.
"""

import argparse
import json
import sys
from collections.abc import Sequence

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
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.model, providers=['CPUExecutionProvider'])
    has_small_masks = any(one.name == 'masks' and one.type == 'tensor(float)' for one in session.get_outputs())
    if isinstance(session.get_inputs()[0].shape[-1], int) or has_small_masks:
        sys.exit(f'error: {args.model} has a fixed size or small masks; tools/predict_onnx.py runs such files')
    metadata = session.get_modelmeta().custom_metadata_map
    classes = json.loads(metadata['classes'])
    # A camera may store an image on its side, with a note that says so.
    image = ImageOps.exif_transpose(Image.open(args.image)).convert('RGB')
    resized = image
    for step in json.loads(metadata['input'])['resize']:
        if step.get('keep_ratio'):
            resized = fit(image, *sorted(step['scale']))

    # Height, width, channels → one image of channels, height, width. The graph normalizes and pads.
    pixels = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1)[None]
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {'image': pixels}), strict=True))

    shown = found['scores'] >= args.score_thr
    boxes, scores, labels = (found[name][shown] for name in ('boxes', 'scores', 'labels'))
    # Back to the image as it is; a detector without a mask head has no masks.
    boxes = boxes * (np.array(image.size * 2) / np.array(resized.size * 2))
    masks = found['masks'][shown] if 'masks' in found else []
    masks = [np.asarray(Image.fromarray(mask).resize(image.size)) for mask in masks]
    for box, score, label in zip(boxes, scores, labels, strict=True):
        print(f'{classes[label]} {score:.2f} at', ' '.join(f'{side:.1f}' for side in box))
    draw(image, boxes, labels, masks).save(args.out)
    print(f'{len(boxes)} objects drawn in {args.out}')


def fit(image: Image.Image, shorter: int, longer: int) -> Image.Image:
    """Scale an image until one side reaches its limit."""
    scale = min(shorter / min(image.size), longer / max(image.size))
    return image.resize([int(side * scale + 0.5) for side in image.size], Image.Resampling.BILINEAR)


def draw(image: Image.Image, boxes: np.ndarray, labels: np.ndarray, masks: Sequence[np.ndarray]) -> Image.Image:
    """Tint each object's pixels, if they are known, and draw its box, in the colour of its class."""
    pixels = np.array(image)
    for label, mask in zip(labels, masks):  # noqa: B905, there may be no masks
        pixels[mask] = pixels[mask] // 2 + np.array(COLOURS[label % len(COLOURS)], np.uint8) // 2
    drawn = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    for box, label in zip(boxes, labels, strict=True):
        pen.rectangle(box.tolist(), outline=COLOURS[label % len(COLOURS)], width=2)
    return drawn


if __name__ == '__main__':
    main()
