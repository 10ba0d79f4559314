"""A model, or a part of it, as a file of ncnn or ExecuTorch for phones and boards, compared with PyTorch before.

These runtimes have no NMS, and sizes that depend on the image are not for them: the file of a detector ends at the maps
of its head, and says in the JSON beside it how boxes are made of these.
"""

import copy
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmfasternet.deploy.heads import Graph, refuse
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.errors import UserError
from mmfasternet.files import check_path, write_file
from mmfasternet.predictions.maps_file import open_maps_file
from mmfasternet.predictions.sidecar import sidecar_of

from .describe import describe
from .fold import fold_model
from .form import form_of
from .parts import part_of, scenes
from .verify import check_maps

__all__ = ['ENDINGS', 'PhoneFile', 'export_for_phone']

#: Ending of a file → the runtime.
ENDINGS = {'.ncnn.param': 'ncnn', '.pte': 'ExecuTorch'}
# Keys of the metadata whose texts are JSON.
_JSON = ('classes', 'input', 'palette', 'score_thr')


@dataclass
class PhoneFile:
    """What was written.

    Args:
        paths: The files; the first one is what was asked for.
        runtime: What runs it.
        outputs: Shape of each output, in their order, without the dimension of images.
        difference: The difference between the runtime and PyTorch, in words.
    """

    paths: list[Path]
    runtime: str
    outputs: list[tuple[int, ...]]
    difference: str


class _Maps(nn.Module):
    """What goes into the file: images (1, 3, H, W) → maps, one after the other."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        # Not called graph, which is an attribute of what torch.export makes of it.
        self.part = graph

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        if not isinstance(self.part, Graph):
            return tuple(self.part(image))
        return tuple(one for of_levels in self.part.maps(image) for one in of_levels)


@torch.no_grad()
def export_for_phone(
    config: str | Path,
    out: str | Path,
    shape: Sequence[int] | None,
    part: str = 'detector',
    checkpoint: str | None = None,
    max_detections: int | None = None,
) -> PhoneFile:
    """Export the model of a config to ncnn or ExecuTorch, for one image of a fixed size.

    Args:
        config: A config file.
        out: The file to write: ``*.ncnn.param``, beside which ``*.ncnn.bin`` gets the weights, or ``*.pte``.
            ``FILE.json`` says what the file is.
        shape: Height and width of images; there is no file for any.
        part: 'backbone' or 'neck', which give feature maps of a normalized image, or 'detector', a complete detector of
            one stage without masks. Defaults to 'detector'.
        checkpoint: Path or URL of the weights. None means random ones. Defaults to None.
        max_detections: The largest number of objects in an image. None means that of the config. Defaults to None.

    Returns:
        What was written.

    Raises:
        UserError: If an argument is wrong, a package is missing, this part of the model can't be exported, the files
            can't be written, or the runtime computes something else than PyTorch; then nothing is written.

    Example:
        >>> config = 'configs/mask_rcnn_fasternet_t0.py'
        >>> exported = export_for_phone(config, 'backbone.ncnn.param', (64, 96), part='backbone')  # doctest: +SKIP
        >>> exported.outputs[0]  # doctest: +SKIP
        (40, 16, 24)
    """
    runtime = next((name for ending, name in ENDINGS.items() if str(out).endswith(ending)), None)
    if runtime is None:
        raise UserError(f'the file must be named {" or ".join(f"*{ending}" for ending in ENDINGS)}, but got {out}')
    check_path(out)
    if shape is None:
        raise UserError(f'a file of {runtime} is for images of one size, such as --shape 640 640')
    convert = _converter(runtime)
    form = form_of(part, shape, 1, max_detections)
    cfg, model = build_model(config)
    graph = part_of(cfg, model, config, part, form)
    if isinstance(graph, Graph) and graph.decoding is None:
        refuse(
            model,
            'a file for phones ends at the head, and more than box decoding and NMS makes its outputs of that; '
            'RetinaNet, FCOS, ATSS and RTMDet have files for phones',
        )
    saved = (load_model(model, checkpoint).get('dataset_meta') or {}) if checkpoint else {}
    texts = describe(cfg, model, graph, part, config, checkpoint, saved, form.shape)
    content: dict[str, Any] = {key: json.loads(text) if key in _JSON else text for key, text in texts.items()}
    content.update(precision='fp32', shape=list(form.shape))
    if isinstance(graph, Graph):
        content['decoding'] = graph.decoding
        # Sides are multiples of what images are padded to.
        graph.pad = None
    image = scenes(graph, 1, *form.shape)
    network = _Maps(graph).eval()
    folded, _, _ = fold_model(_unshared(network), lambda one: one(image), f'the model of {config}')
    with tempfile.TemporaryDirectory(prefix='mmfasternet-') as folder:
        file = Path(folder, f'model{next(ending for ending in ENDINGS if str(out).endswith(ending))}')
        made = convert(folded, image, file)
        sidecar_of(file).write_text(json.dumps(content, indent=1))
        maps = [one[0].numpy() for one in network(image)]
        difference = _compare(file, runtime, graph, image, maps)
        paths = [Path(out), *(Path(out).with_suffix(one.suffix) for one in made[1:]), sidecar_of(out)]
        # The one that was asked for comes last, so that it is there only when the others are.
        for path, one in reversed(list(zip(paths, [*made, sidecar_of(file)], strict=True))):
            write_file(path, one.read_bytes())
    return PhoneFile(paths, runtime, [one.shape for one in maps], difference)


def _unshared(network: nn.Module) -> nn.Module:
    """A copy in which no two places hold the same module, as the levels of RTMDet do."""
    network, seen = copy.deepcopy(network), set()
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if id(module) in seen:
            place, _, last = name.rpartition('.')
            network.get_submodule(place)._modules[last] = copy.deepcopy(module)
        seen.add(id(module))
    return network


def _converter(runtime: str) -> Callable[[nn.Module, Tensor, Path], list[Path]]:
    """What writes a network as a file, and gives all files that it wrote."""
    # Imported here, since only the wanted runtime's packages are needed.
    if runtime == 'ncnn':
        from .to_ncnn import to_ncnn

        return to_ncnn
    from .to_executorch import to_executorch

    return to_executorch


def _compare(file: Path, runtime: str, graph: nn.Module, image: Tensor, expected: list) -> str:
    """Compare the file with PyTorch: its maps, and what a complete detector finds."""
    if runtime == 'ncnn':
        from mmfasternet.predictions.ncnn_network import NcnnNetwork as Network
    else:
        from mmfasternet.predictions.executorch_network import ExecutorchNetwork as Network
    difference = check_maps(Network(file)(image.numpy()), expected)
    if not isinstance(graph, Graph):
        return difference
    return f'{difference}; {graph.check(open_maps_file(file).infer(image.numpy()), graph.predict(image), "fp32")}'
