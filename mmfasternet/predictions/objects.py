"""Detected objects: drawn, with masks, boxes and names."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .caption import text_font

__all__ = ['draw_objects']

# How much of an object's colour covers it; and the share of the image's sides that a line is wide and a text is high.
_OPACITY = 0.4
_LINE, _TEXT, _SMALLEST = 1 / 400, 1 / 45, 11


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: Sequence[np.ndarray],
    colours: Sequence[Sequence[int]],
    texts: Sequence[str],
) -> Image.Image:
    """Draw objects over an image, the first above the others.

    Args:
        image: Blue, green and red of its pixels, uint8 (H, W, 3).
        boxes: x1, y1, x2, y2 in pixels (n, 4).
        masks: Boolean masks (H, W); none, or one for each box.
        colours: Red, green and blue of each object.
        texts: What is written at each box.

    Returns:
        The drawing.

    Example:
        >>> black, box = np.zeros((40, 60, 3), np.uint8), np.array([[5, 5, 20, 30]])
        >>> drawn = draw_objects(black, box, [], [(255, 0, 0)], ['cat'])
        >>> drawn.getpixel((5, 29))
        (255, 0, 0)
    """
    pixels = image[:, :, ::-1].copy()
    for mask, colour in reversed(list(zip(masks, colours, strict=False))):
        pixels[mask] = (1 - _OPACITY) * pixels[mask] + _OPACITY * np.array(colour)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(pixels, outlines, -1, [int(part) for part in colour], 1, cv2.LINE_AA)
    drawn = Image.fromarray(pixels)
    pen, font = ImageDraw.Draw(drawn), text_font(max(_SMALLEST, round(sum(drawn.size) / 2 * _TEXT)))
    line = max(1, round(sum(drawn.size) * _LINE))
    for box, colour, text in reversed(list(zip(boxes.tolist(), colours, texts, strict=True))):
        pen.rectangle(box, outline=tuple(colour), width=line)
        left, top = box[0], max(0, box[1] - font.size - 2 * line)
        pen.rectangle(pen.textbbox((left + line, top), text, font), fill=tuple(colour))
        light = sum(colour) > 380
        pen.text((left + line, top), text, fill='black' if light else 'white', font=font)
    return drawn
