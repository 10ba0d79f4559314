"""A model, or a part of it, as one ONNX file of stock operators, compared with PyTorch before it is written."""

import inspect
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, TRANSFORMS
from rich.progress import track
from torch import nn

from mmfasternet.datasets import draw_scene, find_images, read_image
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .half import check_range, in_half
from .quantize import quantize
from .verify import check_detections, check_maps, check_similar_detections, predict

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401, torch.onnx needs it
except ImportError as error:
    raise UserError(
        f'the export needs onnx, onnxruntime and onnxscript ({error}): pip install mmfasternet[export]'
    ) from error

__all__ = ['OPSET', 'PARTS', 'PRECISIONS', 'Exported', 'export_onnx', 'to_onnx']

PARTS = ('backbone', 'neck', 'detector')
PRECISIONS = ('fp32', 'fp16')
# The lowest that torch writes without a conversion.
OPSET = 18
# Number of images that int8 is calibrated on.
_CALIBRATION = 32
# The detector's outputs.
_DETECTIONS = ['boxes', 'scores', 'labels', 'masks']


@dataclass
class Exported:
    """What was written.

    Args:
        path: The file.
        inputs: Name → type and shape.
        outputs: Name → type and shape.
        operators: Operator → how often.
        difference: The difference between ONNX Runtime and PyTorch, in words.
    """

    path: Path
    inputs: dict[str, str]
    outputs: dict[str, str]
    operators: dict[str, int]
    difference: str


def export_onnx(
    config: str | Path,
    out: str | Path,
    part: str = 'detector',
    checkpoint: str | None = None,
    int8: str | Path | None = None,
    precision: str = 'fp32',
    symmetric: bool = False,
) -> Exported:
    """Export the model of a config to ONNX, for images of any size from 32 × 32 pixels.

    ``backbone`` and ``neck`` take a batch of normalized images (N, 3, H, W) and give feature maps. ``detector`` takes
    one image (1, 3, H, W) of red, green and blue from 0 to 255, and gives ``boxes``, ``scores``, ``labels`` and
    ``masks`` in its pixels; it is for Mask R-CNN.

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
    if part not in PARTS:
        raise UserError(f'part must be one of {", ".join(PARTS)}, but got {part!r}')
    if precision not in PRECISIONS:
        raise UserError(f'precision must be one of {", ".join(PRECISIONS)}, but got {precision!r}')
    if precision == 'fp16' and int8 is not None:
        raise UserError('a file is exported in fp16 or in int8, not in both: leave out --precision fp16 or --int8')
    if symmetric and int8 is None:
        raise UserError('--symmetric says how --int8 quantizes, which is not given')
    if Path(out).suffix != '.onnx':
        raise UserError(f'the file must be named *.onnx, but got {out}')
    if 'dynamo' not in inspect.signature(torch.onnx.export).parameters:
        raise UserError(
            f'torch {torch.__version__} is too old to export this; the export is tested with the default package set, '
            'onedl with torch 2.14: make env SET=onedl'
        )
    cfg, model = build_model(config)
    if checkpoint:
        load_model(model, checkpoint)
    graph = _as_graph(model, part, config)
    images = None if int8 is None else _calibration_images(cfg, model, part, int8)
    exported = to_onnx(in_half(graph) if precision == 'fp16' else graph, part, _class_names(cfg))
    content = exported.SerializeToString()
    difference = _compare(content, model, graph, part, precision)
    if images is not None:
        content = quantize(content, track(images, 'calibrating', transient=True), symmetric)
        exported = onnx.load_model_from_string(content)
    return Exported(
        write_file(out, content),
        {value.name: _type_and_shape(value) for value in exported.graph.input},
        {value.name: _type_and_shape(value) for value in exported.graph.output},
        dict(Counter(node.op_type for node in exported.graph.node)),
        difference,
    )


def _as_graph(model: nn.Module, part: str, config: str | Path) -> nn.Module:
    """The part of the model that goes into the file."""
    if part == 'backbone':
        return model.backbone
    if part == 'neck':
        if not getattr(model, 'with_neck', False):
            raise UserError(f'{config} has no neck; take --part backbone')
        return nn.Sequential(model.backbone, model.neck)
    # Imported here, since it needs mmdet.
    from .mask_rcnn import MaskRCNNGraph

    return MaskRCNNGraph(model)


@torch.no_grad()
def to_onnx(graph: nn.Module, part: str, classes: Sequence[str]) -> onnx.ModelProto:
    """Convert a graph to ONNX.

    Args:
        graph: What is exported, in evaluation mode, on the CPU.
        part: One of ``PARTS``, which decides on inputs and outputs.
        classes: Names of the classes, which a detector's file keeps.

    Returns:
        The ONNX model, checked by ONNX's own checker.

    Raises:
        UserError: If torch can't export it.

    Example:
        >>> from mmfasternet import FasterNet
        >>> [value.name for value in to_onnx(FasterNet('t0').eval(), 'backbone', []).graph.output]
        ['map0', 'map1', 'map2', 'map3']
    """
    free = {2: torch.export.Dim('height', min=32), 3: torch.export.Dim('width', min=32)}
    if part == 'detector':
        image, outputs = torch.zeros(1, 3, 96, 128), _DETECTIONS
    else:
        # With an example of one image, torch would fix the batch size to one.
        free[0], image = torch.export.Dim('batch'), torch.zeros(2, 3, 96, 128)
        outputs = [f'map{i}' for i in range(len(graph(image)))]
    with warnings.catch_warnings():
        # torchvision's NMS describes its size by a function that torch has renamed.
        warnings.simplefilter('ignore', FutureWarning)
        try:
            model = torch.onnx.export(
                graph.eval(),
                (image,),
                dynamo=True,
                opset_version=OPSET,
                input_names=['image'],
                output_names=outputs,
                dynamic_shapes=(free,),
                verbose=False,
            ).model_proto
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(
                f'torch cannot export this {part} for images of any size from 32 × 32 pixels, which is supported for '
                f'FasterNet alone: {reason}'
            ) from error
    # torch records the Python file and line that each value comes from.
    del model.graph.value_info[:]
    for item in [*model.graph.node, *model.graph.input, *model.graph.output]:
        item.ClearField('metadata_props')
    if part == 'detector':
        for output in model.graph.output:
            output.type.tensor_type.shape.dim[0].dim_param = 'detections'
        model.metadata_props.add(key='classes', value=json.dumps(classes))
    onnx.checker.check_model(model, full_check=True)
    return model


def _class_names(cfg: Config) -> list[str]:
    """The names of the labels, as far as the config's test data set has them."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset', {})
    # In the scope of the config, since the root registry does not know mmdet's data sets.
    with DATASETS.switch_scope_and_registry(None) as registry:
        metainfo = dataset.get('metainfo') or getattr(registry.get(dataset.get('type', '')), 'METAINFO', {})
    return list(metainfo.get('classes', []))


def _compare(content: bytes, model: nn.Module, graph: nn.Module, part: str, precision: str) -> str:
    """Compare ONNX Runtime with PyTorch, a detector with mmdet's own predictions, on an image of another size."""
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    scene, _ = draw_scene(np.random.default_rng(0), (200, 333), difficulty=0.1)
    image = torch.from_numpy(scene).permute(2, 0, 1)[None].float()
    if part != 'detector':
        image = image / 128 - 1
    if precision == 'fp16':
        check_range(graph, image)
    if part == 'detector':
        check = check_similar_detections if precision == 'fp16' else check_detections
        return check(session.run(None, {'image': image.numpy()}), predict(model, image))
    with torch.no_grad():
        expected = [out.numpy() for out in graph(image)]
    return check_maps(session.run(None, {'image': image.numpy()}), expected, precision)


def _calibration_images(cfg: Config, model: nn.Module, part: str, source: str | Path) -> list[np.ndarray]:
    """The inputs of the graph for images that are read and resized by the config's test pipeline."""
    steps = [step for step in cfg.test_dataloader.dataset.pipeline if step.type in ('LoadImageFromFile', 'Resize')]
    with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope')):
        pipeline = Compose(steps)
    images = []
    for path in find_images(source)[:_CALIBRATION]:
        read_image(path)  # an unreadable one is one message
        image = torch.from_numpy(pipeline(dict(img_path=str(path)))['img']).permute(2, 0, 1)
        if part == 'detector':
            # mmdet's pipelines load blue, green, red.
            images.append(image.flip(0)[None].float().numpy())
        else:
            images.append(model.data_preprocessor(dict(inputs=[image]), training=False)['inputs'].numpy())
    return images


def _type_and_shape(value: onnx.ValueInfoProto) -> str:
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    sizes = (size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim)
    return f'{kind} ({", ".join(sizes)})'
