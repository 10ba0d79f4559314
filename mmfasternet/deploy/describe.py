"""What an exported file says about itself; nothing of the machine that it was made on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from torch import nn

from mmfasternet.deploy.heads import Graph
from mmfasternet.engine.config import dataset_meta, dataset_tested_on
from mmfasternet.files import file_digest
from mmfasternet.version import __version__
from mmfasternet.weights.download import download, is_url

from .inputs import input_meaning

__all__ = ['describe']


def describe(
    cfg: Config,
    model: nn.Module,
    graph: nn.Module,
    part: str,
    config: str | Path,
    checkpoint: str | None,
    saved: dict[str, Any],
    shape: Sequence[int] | None,
) -> dict[str, str]:
    """The metadata of a file.

    Args:
        cfg: The resolved config.
        model: Its model.
        graph: What is exported of it.
        part: Which part that is.
        config: The config file.
        checkpoint: Path or URL of the weights, or None.
        saved: What the checkpoint says of its data set; its classes and colours come before the config's.
        shape: Height and width of images, where they are fixed.

    Returns:
        Key → text, as :func:`~mmfasternet.predictions.metadata.read_metadata` reads it from a complete model.

    Example:
        >>> arguments = cfg, model, graph, 'detector', 'my_detector.py', 'epoch_12.pth', {}, None  # doctest: +SKIP
        >>> describe(*arguments)['task']  # doctest: +SKIP
        'detection'
    """
    own = saved if isinstance(saved, dict) else {}
    meta = {**dataset_meta(dataset_tested_on(cfg)), **{key: value for key, value in own.items() if value}}
    classes = [str(name) for name in meta.get('classes') or ()]
    found = dict(mmfasternet=__version__, config=Path(config).name, part=part)
    task = None
    if isinstance(graph, Graph):
        task = found['task'] = graph.task
        # A detector's categories are all that its data has; the others' outputs have as many classes as the head.
        classes = classes if task == 'detection' else classes[: graph.num_classes]
        classes += [str(label) for label in range(len(classes), graph.num_classes)]
        if palette := _palette(meta.get('palette'), len(classes)):
            found['palette'] = json.dumps(palette)
        found.update({key: json.dumps(value) for key, value in graph.facts.items()})
    found.update(classes=json.dumps(classes), input=json.dumps(input_meaning(cfg, model, part, task, shape)))
    if checkpoint:
        path = download(checkpoint) if is_url(checkpoint) else Path(checkpoint).expanduser()
        found['checkpoint_sha256'] = file_digest(path)
    return found


def _palette(found: Any, number: int) -> list[list[int]] | None:
    """A colour for each class, if there are as many; 'random', for one, says that there are none."""
    if not isinstance(found, (list, tuple)) or len(found) < number:
        return None
    colours = np.array(found[:number])
    if colours.shape != (number, 3) or colours.dtype.kind not in 'iu':
        return None
    return colours.clip(0, 255).tolist()
