"""The report of a detector's result, from the files of the truth and of what was found."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmfasternet.files import write_json
from mmfasternet.reports.outlines import shorten
from mmfasternet.reports.page import write_page

from .advice import advise
from .calibration import calibration_error
from .detections import read_found
from .page import result_page
from .parts import rounded
from .result import Result, compute_result
from .truth import read_truth
from .worst_images import check_images

__all__ = ['explain_result']

_CLASSES = 20  # of the summary, those with the lowest AP


def explain_result(
    truth: str | Path,
    predictions: Sequence[str | Path],
    images: str | Path,
    out: str | Path,
    facts: Mapping[str, str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> str:
    """Write ``result.html``, a page without network on what a detector got right and wrong, and ``result.json``.

    Args:
        truth: File of COCO annotations.
        predictions: One or two files of COCO results, of boxes and of masks.
        images: Folder that the file names of the truth start in.
        out: Folder to write to.
        facts: More key figures of the page, such as the detector's speed. Defaults to None.
        image_size: Upper limits in pixels of the longer and of the shorter side that images are resized to before the
            detector sees them. Defaults to None, not known.

    Returns:
        A summary in plain text: AP, a line for each class, and what to do next.

    Raises:
        UserError: If a file can't be read or written, or holds what can't be.

    Example:
        >>> import json
        >>> from mmfasternet.datasets import make_shapes
        >>> data = make_shapes('shapes', num_train=1, num_val=2, size=(96, 128))
        >>> truth = data / 'annotations/instances_val.json'
        >>> objects = json.loads(truth.read_text())['annotations']
        >>> found = [dict(one, score=0.9, segmentation=None) for one in objects]
        >>> _ = Path('found.bbox.json').write_text(json.dumps(found))
        >>> print(explain_result(truth, ['found.bbox.json'], data / 'val', 'explained').splitlines()[0])
        box AP 100.0, AP50 100.0
    """
    known = read_truth(truth)
    absent = check_images(known, images)
    result = compute_result(known, read_found(predictions, known))
    advice = advise(result, image_size)
    write_page(Path(out, 'result.html'), result_page(result, advice, images, absent, facts or {}))
    write_json(Path(out, 'result.json'), _figures(result, advice))
    return _summary(result, advice)


def _figures(result: Result, advice: Sequence[str]) -> dict:
    """Small, for scripts that compare results."""
    aps = {'box': result.ap} | ({'mask': result.mask_ap} if result.mask_ap else {})
    classes = [
        dict(name=name, objects=int(count))
        | {f'{kind} AP': rounded(ap.by_class[label]) for kind, ap in aps.items()}
        | {f'{kind} AP50': rounded(ap.by_class50[label]) for kind, ap in aps.items()}
        for label, (name, count) in enumerate(zip(result.truth.classes, result.counts, strict=True))
    ]
    return (
        {f'{kind} AP': rounded(ap.ap) for kind, ap in aps.items()}
        | {f'{kind} AP50': rounded(ap.ap50) for kind, ap in aps.items()}
        | {
            f'{kind} AP by size': {size: rounded(value) for size, value in ap.by_size.items()}
            for kind, ap in aps.items()
        }
        | dict(
            threshold=rounded(result.threshold),
            calibration_error=rounded(calibration_error(result.bins)),
            costs={kind: rounded(cost) for kind, cost in result.costs.items()},
            classes=classes,
            advice=list(advice),
        )
    )


def _summary(result: Result, advice: Sequence[str]) -> str:
    masks = result.mask_ap
    lines = [f'box AP {_points(result.ap.ap)}, AP50 {_points(result.ap.ap50)}']
    if masks:
        lines[0] += f'; mask AP {_points(masks.ap)}, AP50 {_points(masks.ap50)}'
    names = [shorten(name, 30) for name in result.truth.classes]
    width = max(len('class'), *map(len, names))
    lines.append(f'{"class":{width}}  objects  box AP  AP50' + '  mask AP  AP50' * bool(masks))
    lowest = np.argsort(np.nan_to_num(result.ap.by_class, nan=2), kind='stable')[:_CLASSES].tolist()
    for label in sorted(lowest):
        name = names[label]
        values = [_points(result.ap.by_class[label]), _points(result.ap.by_class50[label])]
        line = f'{name:{width}}  {result.counts[label]:7}  {values[0]:>6}  {values[1]:>4}'
        if masks:
            line += f'  {_points(masks.by_class[label]):>7}  {_points(masks.by_class50[label]):>4}'
        lines.append(line)
    if len(names) > _CLASSES:
        lines.append(f'… {len(names) - _CLASSES} classes with a higher AP are on the page')
    return '\n'.join([*lines, *(f'- {sentence}' for sentence in advice)])


def _points(ap: float) -> str:
    return '–' if math.isnan(ap) else f'{100 * ap:.1f}'
