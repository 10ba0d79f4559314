"""The report of a segmentor's or a classifier's result, from files of the truth and of what was predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.files import write_json
from mmfasternet.reports.outlines import shorten
from mmfasternet.reports.page import Page, write_page
from mmfasternet.reports.result.calibration import calibration_error
from mmfasternet.reports.result.parts import rounded

from .class_advice import advise_on_classes
from .class_page import class_page
from .class_result import ClassResult
from .map_advice import advise_on_maps
from .map_page import map_page
from .map_result import compute_map_result
from .truth import read_class_list, read_image_list, read_map_pairs, read_scores

__all__ = ['explain_classes', 'explain_maps']

_CLASSES = 20  # of the summary, those with the lowest figures


class _Outcome(NamedTuple):
    """The classes with what is counted and measured of each, and the advice."""

    classes: Sequence[str]
    counts: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    advice: Sequence[str]


def explain_maps(
    truth: str | Path,
    predictions: str | Path,
    images: str | Path,
    out: str | Path,
    facts: Mapping[str, str] | None = None,
) -> str:
    """Write ``result.html``, a page without network on what a segmentor got right and wrong, and ``result.json``.

    Args:
        truth: List of the images, ``semantic/val.txt``, as
            :func:`~mmfasternet.datasets.formats.convert_maps` has written it beside their maps.
        predictions: Folder of predicted maps, as ``tools/test.py --out`` writes it.
        images: Folder that the names in the list start in.
        out: Folder to write to.
        facts: More key figures of the page, such as the speed. Defaults to None.

    Returns:
        A summary in plain text: mIoU, a line for each class, and what to do next.

    Raises:
        UserError: If a file can't be read or written, or holds what can't be.

    Example:
        >>> import shutil
        >>> from mmfasternet.datasets import make_shapes
        >>> from mmfasternet.datasets.formats import convert_maps
        >>> _ = convert_maps(make_shapes('shapes', num_train=4, num_val=2, size=(96, 128)), 'mine')
        >>> for path in Path('mine/semantic/val').rglob('*.png.png'):
        ...     found = Path('found/val', path.name.removesuffix('.png'))
        ...     found.parent.mkdir(parents=True, exist_ok=True)
        ...     _ = shutil.copy(path, found)
        >>> print(explain_maps('mine/semantic/val.txt', 'found', 'shapes', 'mine').splitlines()[0])
        mIoU 100.0, 100.0% of the pixels are right
    """
    known = read_image_list(truth)
    result = compute_map_result(known.classes, read_map_pairs(known, predictions))
    if not result.pixels.any():
        raise UserError(f'the maps of {truth} ignore every pixel, so there is nothing to compare')
    advice = advise_on_maps(result)
    figures = {
        'mIoU': rounded(result.miou),
        'accuracy': rounded(result.accuracy),
        'mean accuracy': rounded(float(np.nanmean(result.recall))),
        'costs': {kind: rounded(result.cost(wrong)) for kind, wrong in result.kinds.items()},
    }
    columns = {'IoU': result.iou, 'accuracy': result.recall, 'precision': result.precision}
    counts = {'images': result.images, 'pixels': result.confusion.sum(1)}
    outcome = _Outcome(known.classes, counts, columns, advice)
    _write(out, map_page(result, advice, known, predictions, images), facts, figures, outcome)
    first = f'mIoU {100 * result.miou:.1f}, {result.accuracy:.1%} of the pixels are right'
    return _summary(first, outcome)


def explain_classes(
    truth: str | Path,
    predictions: str | Path,
    images: str | Path,
    out: str | Path,
    facts: Mapping[str, str] | None = None,
) -> str:
    """Write ``result.html``, a page without network on what a classifier got right and wrong, and ``result.json``.

    Args:
        truth: List of the images and their classes, ``labels/val.txt``, as
            :func:`~mmfasternet.datasets.formats.convert_classes` has written it.
        predictions: JSON of the scores, as ``tools/test.py --out`` writes it.
        images: Folder that the names in the list start in.
        out: Folder to write to.
        facts: More key figures of the page, such as the speed. Defaults to None.

    Returns:
        A summary in plain text: the accuracy, a line for each class, and what to do next.

    Raises:
        UserError: If a file can't be read or written, or holds what can't be.

    Example:
        >>> import json
        >>> from mmfasternet.datasets import make_crops, make_shapes
        >>> from mmfasternet.datasets.formats import convert_classes
        >>> crops = make_crops(make_shapes('shapes', num_train=9, num_val=9), 'crops')
        >>> _ = convert_classes(crops, 'mine')
        >>> known = read_class_list('mine/labels/val.txt')
        >>> scores = np.eye(len(known.classes))[known.labels].tolist()
        >>> found = [dict(file=file, scores=of) for file, of in zip(known.files, scores, strict=True)]
        >>> _ = Path('scores.json').write_text(json.dumps(dict(classes=known.classes, images=found)))
        >>> print(explain_classes('mine/labels/val.txt', 'scores.json', crops, 'mine').splitlines()[0][:26])
        100.0% of the images are r
    """
    known = read_class_list(truth)
    result = ClassResult(known, read_scores(predictions, known))
    advice = advise_on_classes(result)
    figures = {
        'accuracy': rounded(result.accuracy),
        'mean recall': rounded(float(np.nanmean(result.recall))),
        'calibration error': rounded(calibration_error(result.bins)),
    }
    columns = {'recall': result.recall, 'precision': result.precision, 'F1': result.f1}
    counts = {'images': result.confusion.sum(1)}
    outcome = _Outcome(known.classes, counts, columns, advice)
    _write(out, class_page(result, advice, images), facts, figures, outcome)
    first = f'{result.accuracy:.1%} of the images are right'
    return _summary(first, outcome)


def _write(out: str | Path, page: Page, facts: Mapping[str, str] | None, figures: dict, outcome: _Outcome) -> None:
    write_page(Path(out, 'result.html'), replace(page, figures={**page.figures, **(facts or {})}))
    rows = [
        dict(name=name)
        | {key: int(of[label]) for key, of in outcome.counts.items()}
        | {key: rounded(of[label]) for key, of in outcome.columns.items()}
        for label, name in enumerate(outcome.classes)
    ]
    write_json(Path(out, 'result.json'), figures | dict(classes=rows, advice=list(outcome.advice)))


def _summary(first: str, outcome: _Outcome) -> str:
    names, columns = [shorten(name, 30) for name in outcome.classes], outcome.columns
    lead, *_ = columns.values()
    width = max(len('class'), *map(len, names))
    heads = ['images', *columns]
    lines = [first, f'{"class":{width}}  ' + '  '.join(heads)]
    for label in sorted(np.argsort(np.nan_to_num(lead, nan=2), kind='stable')[:_CLASSES].tolist()):
        cells = [str(outcome.counts['images'][label]), *(_points(of[label]) for of in columns.values())]
        lines.append(
            f'{names[label]:{width}}  '
            + '  '.join(f'{cell:>{len(head)}}' for cell, head in zip(cells, heads, strict=True))
        )
    if len(names) > _CLASSES:
        lines.append(f'… {len(names) - _CLASSES} classes with higher figures are on the page')
    return '\n'.join([*lines, *(f'- {sentence}' for sentence in outcome.advice)])


def _points(value: float) -> str:
    return '–' if np.isnan(value) else f'{100 * value:.1f}'
