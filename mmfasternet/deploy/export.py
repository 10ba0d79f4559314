"""A model, or a part of it, as one ONNX file of stock operators, compared with PyTorch before it is written."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from rich.progress import track
from torch import nn

from mmfasternet.deploy.heads import Graph
from mmfasternet.engine.annotated import read_data
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.errors import UserError
from mmfasternet.files import check_path, write_file

from .accuracy import Accuracy, file_ap, quantize_within
from .any_size import bound_to_a_size, of_any_size
from .describe import describe
from .fold import merge_branches
from .form import PARTS, Form, form_of
from .half import check_range, in_half
from .inputs import calibration_images
from .parts import part_of, scenes
from .quantize import Quantizer
from .verify import check_maps

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401, torch.onnx needs it
except ImportError as error:
    raise UserError(
        f'the export needs onnx, onnxruntime and onnxscript ({error}): pip install mmfasternet[export]'
    ) from error

__all__ = ['OPSET', 'PARTS', 'PRECISIONS', 'Exported', 'export_onnx', 'to_onnx']

PRECISIONS = ('fp32', 'fp16')
# The first whose export can leave sides of one open.
_OLDEST = (2, 9)
# The lowest that torch writes without a conversion.
OPSET = 18
# Number of images in the run of a file for any number that is compared; another one than the export saw.
_COMPARED = 3
# The limit of a batch of any size, far above what memory holds: the exporter's own numbers end at 64 bits.
_MOST_IMAGES = 2**16


@dataclass
class Exported:
    """What was written.

    Args:
        path: The file.
        inputs: Name → type and shape.
        outputs: Name → type and shape.
        operators: Operator → how often.
        difference: The difference between ONNX Runtime and PyTorch, in words.
        accuracy: What int8 costs, where the drop of AP was limited.
    """

    path: Path
    inputs: dict[str, str]
    outputs: dict[str, str]
    operators: dict[str, int]
    difference: str
    accuracy: Accuracy | None = None


def export_onnx(
    config: str | Path,
    out: str | Path,
    part: str = 'detector',
    checkpoint: str | None = None,
    int8: str | Path | None = None,
    precision: str = 'fp32',
    symmetric: bool = False,
    shape: Sequence[int] | None = None,
    batch: int | str | None = None,
    max_detections: int | None = None,
    masks: str = 'full',
    max_drop: float | None = None,
) -> Exported:
    """Export the model of a config to ONNX, by default for images of any size from 32 × 32 pixels.

    ``backbone`` and ``neck`` take a batch of normalized images (N, 3, H, W) and give feature maps. ``detector`` is the
    complete model: it takes one image (1, 3, H, W) of red, green and blue from 0 to 255. A detector gives ``boxes``,
    ``scores``, ``labels`` and, if it has them, ``masks`` in its pixels, a segmentor ``classes``, and a classifier
    ``labels`` and ``scores``; see ``mmfasternet/deploy/heads``.

    Args:
        config: A config file.
        out: The file to write, ``*.onnx``.
        part: One of ``PARTS``. Defaults to 'detector'.
        checkpoint: Path or URL of the weights. None means random ones. Defaults to None.
        int8: An image, or a folder of images, on which convolutions in int8 are calibrated, see
            :func:`~mmfasternet.deploy.quantize.quantize`; the first 32 are used, resized by the config's test pipeline.
            None means no int8. Defaults to None.
        precision: One of ``PRECISIONS``: that of the learned parts, see :func:`~mmfasternet.deploy.half.in_half`.
            Inputs and outputs are float32. Defaults to 'fp32'.
        symmetric: Whether int8 has no zero points, as TensorRT requires. Defaults to False.
        shape: Height and width of images, where they are to be fixed. Defaults to None.
        batch: Number of images, or 'dynamic'. None means 1 of a complete model, else 'dynamic'. Defaults to None.
        max_detections: The largest number of objects in an image. None means that of the config. Defaults to None.
        masks: 'full', boolean masks of the complete image, or 'small', probabilities in 28 × 28 cells of each box.
            Defaults to 'full'.
        max_drop: The most points of box AP and of mask AP that int8 may cost a detector on the images that the config
            validates on; where it costs more, the costliest layers stay float32, see
            :func:`~mmfasternet.deploy.accuracy.quantize_within`. None means that it is not measured. Defaults to None.

    Returns:
        What was written; with int8, the difference from PyTorch is that of the float32 graph.

    Raises:
        UserError: If an argument is wrong, this part of the model can't be exported, the file can't be written, or
            ONNX Runtime computes something else than PyTorch; then nothing is written.

    Example:
        >>> exported = export_onnx('configs/mask_rcnn_fasternet_t0.py', 'backbone.onnx', part='backbone')
        >>> exported.outputs['map0']
        'float32 (batch, 40, (height//4), (width//4))'
    """
    _check_options(precision, int8, symmetric)
    _check_max_drop(max_drop, part, int8)
    if Path(out).suffix != '.onnx':
        raise UserError(f'the file must be named *.onnx, but got {out}')
    check_path(out)
    form = form_of(part, shape, batch, max_detections, masks)
    data = read_data(config, split='val') if max_drop is not None else None
    cfg, model = build_model(config)
    if form.shape is None and (reason := bound_to_a_size(model if part == 'detector' else model.backbone)):
        raise UserError(_not_exported(model.backbone, None, reason))
    part_of(cfg, model, config, part, form)  # what stands in the way is said before the weights are read
    saved = (load_model(model, checkpoint).get('dataset_meta') or {}) if checkpoint else {}
    graph = part_of(cfg, model, config, part, form)
    images = None
    if int8 is not None:
        number = 1 if form.batch == 'dynamic' else form.batch
        images = calibration_images(cfg, model, part, int8, form.shape, number)
    metadata = describe(cfg, model, graph, part, config, checkpoint, saved, form.shape)
    metadata['precision'] = precision if int8 is None else 'int8'
    merged = merge_branches(graph)
    exported = to_onnx(in_half(merged) if precision == 'fp16' else merged, metadata, form.shape, form.batch)
    content = exported.SerializeToString()
    difference = _compare(content, graph, precision, form)
    accuracy = None
    if images is not None:
        quantizer = Quantizer(content, track(images, 'calibrating', transient=True), symmetric)
        if data is None:
            content = quantizer.quantized()
        else:
            measure = partial(file_ap, data=data)
            content, accuracy = quantize_within(quantizer, images, measure, max_drop)
        exported = onnx.load_model_from_string(content)
    return Exported(
        write_file(out, content),
        {value.name: _type_and_shape(value) for value in exported.graph.input},
        {value.name: _type_and_shape(value) for value in exported.graph.output},
        dict(Counter(node.op_type for node in exported.graph.node)),
        difference,
        accuracy,
    )


def _check_options(precision: str, int8: str | Path | None, symmetric: bool) -> None:
    """Make sure that options go together, and that torch can export."""
    if precision not in PRECISIONS:
        raise UserError(f'precision must be one of {", ".join(PRECISIONS)}, but got {precision!r}')
    if precision == 'fp16' and int8 is not None:
        raise UserError('a file is exported in fp16 or in int8, not in both: leave out --precision fp16 or --int8')
    if symmetric and int8 is None:
        raise UserError('--symmetric says how --int8 quantizes, which is not given')
    if torch.__version__ < _OLDEST:
        raise UserError(
            f'torch {torch.__version__} is too old to export this; the export is tested with the default package set, '
            'onedl with torch 2.14: make env SET=onedl'
        )


def _check_max_drop(max_drop: float | None, part: str, int8: str | Path | None) -> None:
    """Make sure that a drop of AP can be limited."""
    if max_drop is None:
        return
    if int8 is None:
        raise UserError('--max-drop says how much AP --int8 may cost, which is not given')
    if part != 'detector':
        raise UserError(f'--max-drop is for complete detectors, whose AP can be measured: leave out --part {part}')
    if not 0 <= max_drop <= 100:
        raise UserError(f'a drop of AP is from 0 to 100 points, but got --max-drop {max_drop}')


@torch.no_grad()
def to_onnx(
    graph: nn.Module,
    metadata: Mapping[str, str] = MappingProxyType({}),
    shape: tuple[int, int] | None = None,
    batch: int | str | None = None,
) -> onnx.ModelProto:
    """Convert a graph to ONNX.

    Args:
        graph: What is exported, in evaluation mode, on the CPU: a :class:`~mmfasternet.deploy.heads.Graph`, or anything
            that gives feature maps of a batch of images.
        metadata: What the file says about itself. Defaults to nothing.
        shape: Height and width of images. None means any from 32 pixels. Defaults to None.
        batch: Number of images, or 'dynamic'. None means 'dynamic', and of a complete model 1. Defaults to None.

    Returns:
        The ONNX model, checked by ONNX's own checker.

    Raises:
        UserError: If torch can't export it.

    Example:
        >>> from mmfasternet import FasterNet
        >>> [value.name for value in to_onnx(FasterNet('t0').eval()).graph.output]
        ['map0', 'map1', 'map2', 'map3']
    """
    # Imported here, since torch 2.1 lacks it.
    from torch.fx.experimental import _config as symbolic

    graph.eval()  # which not every backbone returns
    batch = batch or (1 if isinstance(graph, Graph) else 'dynamic')
    free = {} if shape else {2: torch.export.Dim('height', min=32), 3: torch.export.Dim('width', min=32)}
    if batch == 'dynamic':
        free[0] = torch.export.Dim('batch', max=_MOST_IMAGES)
    # torch would fix what is one in the example: the batch size, and the sides of a map of stride 128.
    image = torch.zeros(2 if batch == 'dynamic' else batch, 3, *(shape or (160, 288)))
    outputs = graph.outputs if isinstance(graph, Graph) else [f'map{i}' for i in range(len(graph(image)))]
    # Sides of one are then no other case than all others, so that maps of any stride have any size.
    with warnings.catch_warnings(), symbolic.patch(backed_size_oblivious=True):
        # torchvision's NMS describes its size by a function that torch has renamed.
        warnings.simplefilter('ignore', FutureWarning)
        try:
            model = torch.onnx.export(
                graph if shape else of_any_size(graph),
                (image,),
                dynamo=True,
                opset_version=OPSET,
                input_names=['image'],
                output_names=list(outputs),
                dynamic_shapes=(free,) if free else None,
                verbose=False,
            ).model_proto
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(_not_exported(graph, shape, reason)) from error
    sides = model.graph.input[0].type.tensor_type.shape.dim[2:]
    if not shape and not all(size.dim_param for size in sides):
        raise UserError(_not_exported(graph, shape, 'it has branches or arithmetic that depend on the size'))
    # torch records the Python file and line that each value comes from.
    del model.graph.value_info[:]
    for item in [*model.graph.node, *model.graph.input, *model.graph.output]:
        item.ClearField('metadata_props')
    if isinstance(graph, Graph):
        for output in model.graph.output:
            first = output.type.tensor_type.shape.dim[0]
            # Numbers that depend on the image have names of torch's own.
            if first.dim_param not in ('', 'height', 'batch'):
                first.dim_param = 'detections'
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _not_exported(graph: nn.Module, shape: Sequence[int] | None, reason: str) -> str:
    """Why torch can't convert a graph, and what to do."""
    backbone = graph.body[0] if isinstance(graph, Graph) else graph[0] if isinstance(graph, nn.Sequential) else graph
    said = f'torch cannot export this model, whose backbone is a {type(backbone).__name__}'
    if shape:
        return f'{said}: {reason}'
    return f'{said}, for images of any size from 32 × 32 pixels: {reason}; fix the size by --shape HEIGHT WIDTH'


def _compare(content: bytes, graph: nn.Module, precision: str, form: Form) -> str:
    """Compare ONNX Runtime with PyTorch, a complete model with its own predictions, on images of another size."""
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    number = _COMPARED if form.batch == 'dynamic' else form.batch
    images = scenes(graph, number, *(form.shape or (200, 333)))
    if precision == 'fp16':
        check_range(graph, images)
    found = session.run(None, {'image': images.numpy()})
    if isinstance(graph, Graph):
        each = graph.of_each(found, number)
        return '; '.join(graph.check(one, graph.predict(images[i : i + 1]), precision) for i, one in enumerate(each))
    with torch.no_grad():
        expected = [out.numpy() for out in graph(images)]
    return check_maps(found, expected, precision)


def _type_and_shape(value: onnx.ValueInfoProto) -> str:
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    sizes = (size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim)
    return f'{kind} ({", ".join(sizes)})'
