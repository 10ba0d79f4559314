"""What the examples that run exported files without Python are compared with: the objects that predict_onnx finds."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmfasternet.predictions.onnx_run import predict_with_file

__all__ = ['Line', 'expected_lines', 'read_lines', 'share_of_matches']

LINE = re.compile(r'(.+) (\d\.\d\d) at (-?\d+\.\d) (-?\d+\.\d) (-?\d+\.\d) (-?\d+\.\d)')


class Line(NamedTuple):
    """An object as the examples print it."""

    name: str
    score: float
    box: tuple[float, ...]


def read_lines(lines: list[str]) -> list[Line]:
    found = [LINE.fullmatch(line.strip()) for line in lines]
    assert all(found), lines
    return [Line(one[1], float(one[2]), tuple(map(float, one.groups()[2:]))) for one in found]


def expected_lines(file: Path, image: Path, out: Path) -> list[Line]:
    assert predict_with_file(file, image, out) == (1, {})
    found = json.loads((out / 'predictions.json').read_text())
    names = {category['id']: category['name'] for category in found['categories']}
    lines = []
    for entry in found['annotations']:
        x, y, width, height = entry['bbox']
        lines.append(Line(names[entry['category_id']], entry['score'], (x, y, x + width, y + height)))
    return lines


def share_of_matches(expected: list[Line], found: list[Line], pixels: float) -> float:
    """The share of expected objects that were found, of the same score and as many pixels apart at most.

    Objects of almost the same score may come in another order.
    """
    left, matches = list(found), 0
    for one in expected:
        for other in left:
            close = np.allclose(one.box, other.box, atol=pixels, rtol=0) and abs(one.score - other.score) < 0.02
            if one.name == other.name and close:
                left.remove(other)
                matches += 1
                break
    return matches / max(len(expected), len(found))
