"""What an exported file says about itself, which decides how images are prepared and what its outputs mean."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmfasternet.errors import UserError

from .sizing import wrong_step

__all__ = ['TASKS', 'Metadata', 'read_metadata']

#: What a complete model does.
TASKS = ('detection', 'segmentation', 'classification')
# Characters of a value, number of classes, and characters of a class's name.
_LONGEST, _MOST, _NAME = 2_000_000, 20_000, 500
# What is known about a file, and written beside what it finds.
_FACTS = ('config', 'mmfasternet', 'checkpoint_sha256', 'precision')


@dataclass(frozen=True)
class Metadata:
    """How a complete model in an ONNX file is used.

    Args:
        task: One of ``TASKS``.
        classes: Names of the labels.
        palette: Red, green and blue of each class, or None.
        resize: The steps that bring an image to the size that the model takes, see
            :func:`~mmfasternet.predictions.sizing.resize_by`.
        pad: Red, green and blue of what an image is padded with, on the right and below, where the size is fixed.
        mask_thr: Lowest probability of a pixel in a mask, where the file gives small masks of probabilities.
        facts: Where the file comes from: such as the name of its config and the version that wrote it.
    """

    task: str
    classes: list[str]
    palette: list[list[int]] | None = None
    resize: list[dict[str, Any]] = field(default_factory=list)
    pad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mask_thr: float = 0.5
    facts: dict[str, str] = field(default_factory=dict)


def read_metadata(found: Mapping[str, str]) -> Metadata:
    """Read the metadata of an ONNX file, which anybody may have written.

    Args:
        found: Key → text.

    Returns:
        Its meaning.

    Raises:
        UserError: If something is missing, is no JSON, or is not what it should be.

    Example:
        >>> texts = dict(part='detector', task='classification', classes='["cat"]', input='{"resize": []}')
        >>> read_metadata(texts).classes
        ['cat']
    """
    if found.get('part') != 'detector' or 'task' not in found:
        part = found.get('part', '')
        raise UserError(
            f'the file holds no complete model that tools/export.py wrote (its metadata has part={part[:40]!r} and '
            f'task={found.get("task", "")[:40]!r}); export one without --part'
        )
    if found['task'] not in TASKS:
        _refuse('task', f'{found["task"][:40]!r}', f'one of {", ".join(TASKS)}')
    classes = _json(found, 'classes')
    if not (
        isinstance(classes, list)
        and 0 < len(classes) <= _MOST
        and all(isinstance(name, str) and len(name) <= _NAME for name in classes)
    ):
        _refuse('classes', _short(classes), f'a list of 1 to {_MOST} names')
    palette = _json(found, 'palette') if 'palette' in found else None
    if palette is not None and not (
        isinstance(palette, list) and len(palette) == len(classes) and all(map(_is_colour, palette))
    ):
        _refuse('palette', _short(palette), 'a colour [red, green, blue] from 0 to 255 for each class')
    meaning = _json(found, 'input')
    if not isinstance(meaning, dict) or not isinstance(meaning.get('resize'), list):
        _refuse('input', _short(meaning), 'an object with a list of steps, resize')
    for step in meaning['resize']:
        if fault := wrong_step(step):
            _refuse('input', fault, 'a step that changes the size of an image')
    pad = meaning.get('pad', [0, 0, 0])
    if not (isinstance(pad, list) and len(pad) == 3 and all(map(_is_number, pad))):
        _refuse('input', _short(pad), 'pad, a colour [red, green, blue]')
    mask_thr = _json(found, 'mask_thr') if 'mask_thr' in found else 0.5
    if not _is_number(mask_thr):
        _refuse('mask_thr', _short(mask_thr), 'a number')
    facts = {key: found[key][:_NAME] for key in _FACTS if key in found}
    return Metadata(found['task'], classes, palette, meaning['resize'], tuple(pad), mask_thr, facts)


def _json(found: Mapping[str, str], key: str) -> Any:
    text = found.get(key, '')
    if len(text) > _LONGEST:
        _refuse(key, f'{len(text)} characters', f'at most {_LONGEST}')
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        _refuse(key, _short(text), 'JSON')


def _is_colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part < 256 for part in value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e6


def _short(value: Any) -> str:
    return reprlib.repr(value)[:200]


def _refuse(key: str, got: str, expected: str) -> None:
    raise UserError(f'the metadata of the file has {key}={got}, not {expected}; export it again by tools/export.py')
