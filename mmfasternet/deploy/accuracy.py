"""The layers that stay float32, so that int8 costs a detector no more AP than allowed."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from rich.console import Console
from rich.progress import track

from mmfasternet.datasets import read_image
from mmfasternet.engine.annotated import Data, average_precision, to_entries
from mmfasternet.errors import UserError
from mmfasternet.predictions.onnx_file import OnnxFile
from mmfasternet.predictions.onnx_predictors import onnx_predictor

from .quantize import Quantizer

__all__ = ['Accuracy', 'Cost', 'fewest', 'file_ap', 'largest_drop', 'layer_costs', 'quantize_within']

# Images that the cost of a layer is taken from.
_FEW = 4


class Cost(NamedTuple):
    """What a layer loses in int8 on its own.

    Attributes:
        layer: Its name, that of its weights.
        signal_to_noise: The ratio of its output to the error of its output, in dB, where it alone is in int8.
    """

    layer: str
    signal_to_noise: float


@dataclass(frozen=True)
class Accuracy:
    """What int8 costs a detector.

    Args:
        float32: ``box_ap`` and ``mask_ap`` (or None) of the file in float32, in points.
        plain: The same, with all convolutions in int8.
        written: The same of the file as it is written.
        costs: All layers, the costliest first; empty where all of them are in int8.
        kept: As many of them, the first ones, are float32.
    """

    float32: dict[str, float | None]
    plain: dict[str, float | None]
    written: dict[str, float | None]
    costs: list[Cost]
    kept: int

    def summary(self) -> list[tuple[str, str]]:
        """Rows of a table: what it is, and what it says."""
        rows = []
        for name in [name for name, value in self.float32.items() if value is not None]:
            text = f'{self.float32[name]:.2f} in float32, {self.plain[name]:.2f} all in int8'
            if self.kept:
                text += f', {self.written[name]:.2f} as written'
            rows.append((name.replace('_ap', ' AP'), text))
        kept = f'{self.kept} of {len(self.costs)}' if self.kept else 'none of the convolutions'
        return [*rows, ('layers in float32', kept)]


def quantize_within(
    quantizer: Quantizer, images: Sequence[np.ndarray], measure: Callable[..., dict], max_drop: float
) -> tuple[bytes, Accuracy]:
    """Quantize all convolutions or, where that costs too much AP, all but the layers that lose most on their own.

    Layers are put back to float32 in the order of :func:`layer_costs`. How many is sought by doubling and bisection:
    AP is measured about 2 · log2 of their number times.

    Args:
        quantizer: The model.
        images: Inputs that the costs are taken from; those of the calibration.
        measure: The AP of a file's content, as :func:`file_ap` gives it; it also takes ``label``, what is
            measured in words.
        max_drop: The largest drop of box AP, and of mask AP, in points.

    Returns:
        The content of the file, and what it costs.

    Raises:
        UserError: If the AP in float32 is 0, or no layer can be in int8.
    """
    float32 = measure(quantizer.prepared, label='float32')
    if not float32['box_ap']:
        raise UserError(
            'the float32 file has a box AP of 0 on the validation images, so there is no drop to limit: pass the '
            '--checkpoint of a trained detector, or leave out --max-drop'
        )
    content = quantizer.quantized()
    plain = measure(content, label='int8')
    if largest_drop(float32, plain) <= max_drop:
        return content, Accuracy(float32, plain, plain, [], 0)
    costs = layer_costs(quantizer, images)
    tried = {}

    def suffices(kept: int) -> bool:
        content = quantizer.quantized([cost.layer for cost in costs[:kept]])
        tried[kept] = content, measure(content, label=f'int8 with {kept} of {len(costs)} layers in float32')
        return largest_drop(float32, tried[kept][1]) <= max_drop

    kept = fewest(len(costs) - 1, suffices)
    if kept is None:
        raise UserError(
            f'int8 costs {largest_drop(float32, plain):.2f} points of AP, and more than {max_drop:g} even with all '
            f'but one of {len(costs)} layers in float32; allow a larger --max-drop, or export in fp16'
        )
    content, written = tried[kept]
    return content, Accuracy(float32, plain, written, costs, kept)


def fewest(most: int, suffices: Callable[[int], bool]) -> int | None:
    """The fewest that suffice, by doubling and bisection.

    Args:
        most: The most that are tried, at least 0.
        suffices: Whether as many do, from 1.

    Returns:
        The number; None if not even the most suffice.

    Example:
        >>> fewest(60, lambda number: number >= 5)
        5
    """
    failed, number = 0, min(1, most)
    while number > failed and not suffices(number):
        failed, number = number, min(2 * number, most)
    if number == failed:
        return None
    while number - failed > 1:
        middle = (failed + number) // 2
        if suffices(middle):
            number = middle
        else:
            failed = middle
    return number


def largest_drop(before: dict[str, float | None], after: dict[str, float | None]) -> float:
    """By how much AP has dropped, in points: that of boxes or of masks, whichever dropped more.

    Args:
        before: ``box_ap`` and ``mask_ap``; None where there are none.
        after: The same.

    Returns:
        Points, negative where both have grown.

    Example:
        >>> largest_drop(dict(box_ap=50.0, mask_ap=44.0), dict(box_ap=49.5, mask_ap=42.0))
        2.0
    """
    return max(value - after[name] for name, value in before.items() if value is not None)


def layer_costs(quantizer: Quantizer, images: Sequence[np.ndarray]) -> list[Cost]:
    """What each layer loses in int8 on its own, with all others in float32: the error of its output on a few images.

    Args:
        quantizer: The model.
        images: Its inputs; the first four are used.

    Returns:
        The costs, the lowest ratio of signal to noise first.
    """
    prepared, quantized = map(onnx.load_model_from_string, (quantizer.prepared, quantizer.quantized()))
    nodes = {node.name: node for node in prepared.graph.node}
    alone = {name: _Alone(quantized, name) for layer in quantizer.layers.values() for name in layer}
    names = {nodes[name].output[0] for name in alone} | {one.source for one in alone.values()} - {'image'}
    _give(prepared, sorted(names))
    session = _session(prepared)
    signal, noise = dict.fromkeys(quantizer.layers, 0.0), dict.fromkeys(quantizer.layers, 0.0)
    for image in images[:_FEW]:
        values = dict(zip(sorted(names), session.run(sorted(names), dict(image=image)), strict=True), image=image)
        for layer, parts in quantizer.layers.items():
            for name in parts:
                exact = values[nodes[name].output[0]]
                signal[layer] += float(np.square(exact, dtype=float).sum())
                noise[layer] += float(np.square(alone[name](values) - exact, dtype=float).sum())
    costs = [Cost(layer, _decibels(signal[layer], noise[layer])) for layer in quantizer.layers]
    return sorted(costs, key=lambda cost: cost.signal_to_noise)


class _Alone:
    """A convolution of a quantized graph with the rounding of its input, weights and output, to be run alone."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        graph = model.graph
        makers = {output: node for node in graph.node for output in node.output}
        (convolution,) = (node for node in graph.node if node.name == name)
        #: Name of its input before rounding.
        self.source = makers[makers[convolution.input[0]].input[0]].input[0]
        result = convolution.output[0]
        for _ in ('QuantizeLinear', 'DequantizeLinear'):
            result = next(node.output[0] for node in graph.node if result in node.input)
        needed, pending = set(), [result]
        while pending:
            output = pending.pop()
            if output != self.source and output in makers:
                needed.add(makers[output].name)
                pending += makers[output].input
        kept = [node for node in graph.node if node.name in needed]
        read = {value for node in kept for value in node.input}
        source = onnx.helper.make_tensor_value_info(self.source, onnx.TensorProto.FLOAT, None)
        initializers = [tensor for tensor in graph.initializer if tensor.name in read]
        part = onnx.helper.make_graph(kept, name, [source], [], initializers)
        taken = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
        _give(taken, [result])
        self._session = _session(taken)

    def __call__(self, values: dict[str, np.ndarray]) -> np.ndarray:
        return self._session.run(None, {self.source: values[self.source]})[0]


def _give(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Let a model give other values."""
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])


def _decibels(signal: float, noise: float) -> float:
    return 10 * float(np.log10(signal / noise)) if signal and noise else float('inf')


def file_ap(content: bytes, data: Data, label: str) -> dict[str, float | None]:
    """The AP of a detector's file in ONNX Runtime.

    Args:
        content: What ``tools/export.py`` writes.
        data: Annotated images.
        label: What is measured, for the progress bar.

    Returns:
        ``box_ap`` and ``mask_ap`` in percent points; the latter is None without masks.

    Raises:
        UserError: If the file has other classes than the data.
    """
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'detector.onnx')
        path.write_bytes(content)
        file = OnnxFile(path)
        if file.metadata.classes != data.classes:
            theirs, ours = (', '.join(names[:5]) for names in (file.metadata.classes, data.classes))
            raise UserError(
                f'the file has the classes {theirs}, but {data.name} has {ours}; the checkpoint is of another data set '
                'than the config'
            )
        detector = onnx_predictor(file, score_thr=0)
        for image, source in track(data.images.items(), f'AP of {label}', console=Console(stderr=True), transient=True):
            entries += to_entries(data, image, detector.predict([read_image(source)])[0])
    return average_precision(data, entries)
