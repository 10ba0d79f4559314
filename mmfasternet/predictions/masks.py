"""Masks of detected objects in the pixels of their image."""

import cv2
import numpy as np

__all__ = ['paste_masks', 'stretch_masks']


def paste_masks(masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float) -> list[np.ndarray]:
    """Stretch small masks over their boxes, as mmdet does.

    Args:
        masks: Probabilities (n, h, w).
        boxes: x1, y1, x2, y2 in pixels (n, 4).
        height: Of the image.
        width: Of the image.
        threshold: Lowest probability of a pixel that belongs to an object.

    Returns:
        Boolean masks (height, width).

    Example:
        >>> paste_masks(np.ones((1, 2, 2)), np.array([[1, 0, 3, 2]]), 2, 4, 0.5)[0].astype(int).tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    pasted = []
    for mask, (x1, y1, x2, y2) in zip(masks.astype(np.float32), boxes.astype(np.float32), strict=True):
        along_y = _interpolation(y1, y2, mask.shape[0], height)
        along_x = _interpolation(x1, x2, mask.shape[1], width)
        pasted.append(along_y @ mask @ along_x.T >= threshold)
    return pasted


def _interpolation(start: np.float32, end: np.float32, cells: int, pixels: int) -> np.ndarray:
    """The weight of each cell between start and end in each pixel of the image: (pixels, cells)."""
    if not end > start:
        return np.zeros((pixels, cells), np.float32)
    position = (np.arange(pixels, dtype=np.float32) + 0.5 - start) / (end - start) * cells - 0.5
    return (1 - abs(position[:, None] - np.arange(cells, dtype=np.float32))).clip(min=0)


def stretch_masks(masks: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Bring masks of a resized image to the size that it had.

    Args:
        masks: Boolean masks (n, H, W).
        height: That they are to have.
        width: The same.

    Returns:
        Boolean masks (height, width).

    Example:
        >>> stretch_masks(np.ones((1, 2, 2), bool), 4, 6)[0].sum()
        np.int64(24)
    """
    if masks.shape[1:] == (height, width):
        return list(masks)
    sized = (cv2.resize(mask.astype(np.float32), (width, height)) for mask in masks)
    return [mask >= 0.5 for mask in sized]
