"""What a record holds, kind by kind: the fields, their units, and which of them tell two measurements apart.

Records are checked against this schema, and docs/records.md is generated from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

__all__ = ['FORMAT', 'KINDS', 'SCOPES', 'VERSION', 'check_machine', 'check_record', 'schema_page', 'shown']

FORMAT, VERSION = 'mmfasternet-records', 3
SCOPES = ('backbone', 'detector', 'end2end')


@dataclass(frozen=True)
class _Check:
    """What a value must be, in words and as a function."""

    expected: str
    holds: Callable[[Any], bool]


def _is_parts(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(part, dict) and all(map(_is_number, part.values())) for part in parts)


def _is_curves(value: Any) -> bool:
    pairs = partial(_is_list, length=2, holds=_is_number)
    return isinstance(value, dict) and all(_is_list(curve, None, pairs) for curve in value.values())


# No figure is beyond these; numbers that are break axes and digits.
_LARGEST, _SMALLEST = 1e18, 1e-12


def _is_number(value: Any) -> bool:
    # Compared as it is, since an integer may be too large for a float; NaN is below nothing.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ''


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > _SMALLEST


def _is_list(value: Any, length: int | None, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and length in (None, len(value)) and all(map(holds, value))


_TEXT = _Check('a text', _is_text)
_TEXT_OR_NULL = _Check('a text or null', lambda value: value is None or _is_text(value))
_COUNT = _Check('an integer, 0 or more', _is_count)
_POSITIVE = _Check('a number above 0', _is_positive)
_POSITIVE_OR_MISSING = _Check('a number above 0, or missing', lambda value: value is None or _is_positive(value))
_PERCENT = _Check('percent points from 0 to 100', lambda value: _is_number(value) and 0 <= value <= 100)
_PERCENT_OR_MISSING = _Check(
    'percent points from 0 to 100, or missing', lambda value: value is None or _PERCENT.holds(value)
)
_PERCENTS = _Check(
    'two of percent points, or missing',
    lambda value: value is None or _is_list(value, 2, lambda item: _is_number(item) and 0 <= item <= 100),
)
_NUMBER_OR_MISSING = _Check('a number, or missing', lambda value: value is None or _is_number(value))
_COUNT_OR_MISSING = _Check('an integer, 0 or more, or missing', lambda value: value is None or _is_count(value))
_TEXT_OR_MISSING = _Check('a text, or missing', lambda value: value is None or isinstance(value, str))
_OBJECT_OR_MISSING = _Check('an object, or missing', lambda value: value is None or isinstance(value, dict))
_SHAPE = _Check('height and width', lambda value: _is_list(value, 2, _is_count))
_SHAPE_OR_MISSING = _Check('height and width, or missing', lambda value: value is None or _is_list(value, 2, _is_count))
_CURVES = _Check('an object of lists of pairs of numbers, or missing', lambda value: value is None or _is_curves(value))
_PARTS = _Check('an object of objects of numbers, or missing', lambda value: value is None or _is_parts(value))
_QUARTILES = _Check('two numbers above 0', lambda value: _is_list(value, 2, _is_positive))
_POSITIVES_OR_MISSING = _Check(
    'numbers above 0, or missing', lambda value: value is None or _is_list(value, None, _is_positive)
)
_INTERVAL_OR_MISSING = _Check(
    'two numbers above 0, or missing', lambda value: value is None or _is_list(value, 2, _is_positive)
)
_TEXTS_OR_MISSING = _Check(
    'a list of texts, or missing', lambda value: value is None or _is_list(value, None, _is_text)
)
_TEXTS = _Check('a list of texts', lambda value: _is_list(value, None, _is_text))
_OBJECT = _Check('an object', lambda value: isinstance(value, dict))
_TIMED_OR_MISSING = _Check(
    'an object with "median_ms" above 0, or missing',
    lambda value: value is None or (isinstance(value, dict) and _is_positive(value.get('median_ms'))),
)
_FILLED = _Check('an object that is not empty', lambda value: isinstance(value, dict) and value != {})
_SCOPE = _Check(f'one of {", ".join(SCOPES)}', lambda value: value in SCOPES)
_GPU_PARTS = ('peaks', 'differences', 'kernel', 'demo')
_GPU_PART = _Check(f'one of {", ".join(_GPU_PARTS)}', lambda value: value in _GPU_PARTS)


@dataclass(frozen=True)
class _Field:
    """A field of a record."""

    names: str
    unit: str
    text: str
    check: _Check | None = None


@dataclass(frozen=True)
class _Kind:
    """A kind of records."""

    text: str
    fields: tuple[_Field, ...]
    identity: tuple[str, ...]


_MACHINE = (
    _Field('id', '', 'equal for equal machines', _TEXT),
    _Field('label', '', 'what tables and plots call it', _TEXT),
    _Field('device device_name', '', '`cpu` or a GPU such as `cuda:0`, and its name'),
    _Field('cpu cores memory_gb', '', 'its CPU, and the cores that could be used; the memory is not part of the id'),
    _Field(
        'instructions', '', 'sets of the CPU that decide about precisions, such as `avx512_vnni`; not in older files'
    ),
    _Field('system python packages', '', 'operating system, Python, and name → version of the packages'),
    _Field(
        'cuda cudnn driver capability multiprocessors gpu_memory_gb power_limit_w',
        '',
        'with a GPU; the driver and the power limit where the package nvidia-ml-py is installed',
    ),
)
_LATENCIES = (
    _Field('median_ms p90_ms', 'ms', 'over all timed runs of all rounds', _POSITIVE),
    _Field('quartiles_ms', 'ms', 'over all timed runs of all rounds', _QUARTILES),
    _Field(
        'interval_ms',
        'ms',
        'of the median: 95 %, by a bootstrap over rounds and their runs; not in older records',
        _INTERVAL_OR_MISSING,
    ),
    _Field(
        'stream_ms',
        'ms',
        'on a GPU: the median of runs in a row, which nobody waits for in between, by its own clock; `median_ms` is '
        'what one caller waits, launching included',
        _POSITIVE_OR_MISSING,
    ),
    _Field('throughput', 'images/s', '`batch` over the median; on a GPU over `stream_ms`', _POSITIVE),
    _Field(
        'rounds',
        '',
        'per round: `times_ms` (at most 100, evenly spaced over the round), `load_average` (1 minute, before the '
        'round), `clock_mhz`, `date`; on a GPU `stream_ms` (five times), and its state right after the round: '
        '`clock_mhz`, `power_w`, `temperature_c`, and `throttled`, why its clock was held back',
    ),
    _Field('flags', '', 'why the latency should be measured again; empty if nothing was noticed', _TEXTS),
)

KINDS = {
    'complexity': _Kind(
        'Parameters and FLOPs of a detector or segmentor.',
        (
            _Field('shape', 'pixels', 'height and width of the image', _SHAPE),
            _Field('params trainable', '1', 'all parameters; those that training changes', _COUNT),
            _Field('flops_full', 'multiply-adds', 'every operator that multiplies and adds', _COUNT),
            _Field('flops_paper', 'multiply-adds', 'as the FasterNet paper counts', _COUNT),
            _Field('activations', 'elements', 'outputs of convolutions and matrix products', _NUMBER_OR_MISSING),
            _Field(
                'parts',
                '',
                'the same per part: `backbone`, `neck`, then `rpn`, `box_head` and `mask_head` of a two-stage '
                'detector, `head` of a one-stage detector, `transformer` of a DETR, or `decode_head` and '
                '`auxiliary_head` of a segmentor',
                _PARTS,
            ),
        ),
        ('shape',),
    ),
    'classifier': _Kind(
        'Parameters and FLOPs of a classifier.',
        (
            _Field('shape', 'pixels', 'height and width of the image', _SHAPE),
            _Field('params flops', '1, multiply-adds', 'of the complete classifier', _COUNT),
            _Field('params_conv_fc flops_conv_fc', '1, multiply-adds', 'without its norms', _COUNT),
        ),
        ('shape',),
    ),
    'latency': _Kind(
        'Latency of a backbone or detector.',
        (
            _Field(
                'scope',
                '',
                '`backbone`; `detector`, with 1000 fixed proposals and 100 fixed RoIs, without NMS; `end2end`, with '
                'NMS and masks pasted',
                _SCOPE,
            ),
            _Field(
                'path',
                '',
                '`reference`: the modules as they are trained; `folded`: batch norms and parallel branches folded; '
                "`optimized`: FasterNet's `optimize_for_inference`; the last two are checked to compute the same",
                _TEXT,
            ),
            _Field(
                'backend',
                '',
                'what ran it: `eager`; `graph`, CUDA graphs; `compile`, torch.compile with frozen weights; '
                '`onnxruntime`; or `openvino`',
                _TEXT,
            ),
            _Field('compile_mode', '', "torch.compile's, null for its default and for other backends", _TEXT_OR_NULL),
            _Field('compile_s', 's', 'what torch.compile took, with its first three runs', _NUMBER_OR_MISSING),
            _Field('provider', '', "ONNX Runtime's execution provider where one was named, else null", _TEXT_OR_NULL),
            _Field(
                'precision',
                '',
                'what was asked for: `fp32`, without TF32; `tf32`, in convolutions and matrix products; `fp16` or '
                '`bf16`; or `int8`',
                _TEXT,
            ),
            _Field(
                'weights',
                '',
                'in PyTorch in half precision: `autocast`, of float32 weights in each run, or `cast`, weights and '
                'image in the precision; otherwise `fp32`. The two are not compared',
                _TEXT,
            ),
            _Field(
                'memory_format',
                '',
                'of the image, and of the weights of backbone and neck: `contiguous` or `channels_last`; an optimized '
                'backbone computes in channels_last whatever it is given',
                _TEXT,
            ),
            _Field(
                'computed_in',
                '',
                'the precision of most convolutions, asked of OpenVINO and ONNX Runtime, otherwise seen in '
                '`max_difference`; another precision than asked for is not recorded. Older records lack it',
                _TEXT_OR_NULL,
            ),
            _Field('weight_bits', '1', 'int8: bits of a weight; 8 in older records, which lack it', _NUMBER_OR_MISSING),
            _Field('device', '', '`cpu` or a GPU such as `cuda:0`', _TEXT_OR_MISSING),
            _Field('threads', '1', 'of torch, or of the runtime, on the CPU', _COUNT),
            _Field('batch', '1', 'images at once', _COUNT),
            _Field('checkpoint input', '', 'the weights, null if random; the image, or `noise`', _TEXT_OR_MISSING),
            _Field('shape', 'pixels', 'height and width of the image', _SHAPE),
            _Field('padded', 'pixels', 'height and width of the tensor that the image lies in', _SHAPE_OR_MISSING),
            *_LATENCIES,
            _Field('reference', '', 'the row that it was compared with, where rows were', _TEXT_OR_MISSING),
            _Field('ratio', '1', 'the latency over that of the reference, in the same rounds', _POSITIVE_OR_MISSING),
            _Field(
                'ratio_interval',
                '1',
                'of the ratio: 95 %, by a bootstrap over rounds and their runs',
                _INTERVAL_OR_MISSING,
            ),
            _Field('retakes', '1', 'how often it was taken again since it was flagged', _COUNT_OR_MISSING),
            _Field('detections', '1', 'of one image; null where the scope has none', _NUMBER_OR_MISSING),
            _Field('folded', '1', 'batch norms folded into their neighbours', _NUMBER_OR_MISSING),
            _Field(
                'max_difference',
                '1',
                "largest difference from the reference path's feature maps in eager fp32 over the largest value of "
                'the map; null for the reference path itself. Allowed: 1e-4 in fp32, 5e-3 in tf32, 2e-2 in fp16, 8e-2 '
                'in bf16',
                _NUMBER_OR_MISSING,
            ),
            _Field(
                'peak_mib',
                'MiB',
                'on a GPU: the most memory that a run holds, beyond weights and image',
                _NUMBER_OR_MISSING,
            ),
            _Field('cudnn_benchmark', '', 'on a GPU: true, cuDNN chose its algorithms by trying them'),
            _Field('arch contender', '', '`make engines`: the variant, and what runs it', _TEXT_OR_MISSING),
            _Field('flops', 'multiply-adds', '`make engines`: of the backbone', _NUMBER_OR_MISSING),
            _Field(
                'peak_gmacs',
                'GMAC/s',
                '`make engines`: the fastest large matrix product between the rounds',
                _NUMBER_OR_MISSING,
            ),
        ),
        (
            *(
                'scope',
                'path',
                'backend',
                'compile_mode',
                'provider',
                'precision',
                'weights',
                'memory_format',
                'device',
            ),
            *('threads', 'batch', 'shape', 'checkpoint', 'input', 'contender'),
        ),
    ),
    'ap': _Kind(
        'Box and mask AP of a detector.',
        (
            _Field('box_ap mask_ap', 'percent points', 'with `…50` and `…75` where the test gave them', _PERCENT),
            _Field(
                'dataset checkpoint source',
                '',
                'what was tested on what, null if unknown; the file of the test',
                _TEXT_OR_MISSING,
            ),
            _Field('contender', '', '`tools/benchmark/ops.py`: whose operators were tested', _TEXT_OR_MISSING),
            _Field('seed epochs', '1', 'compare-trained: of the training', _COUNT_OR_MISSING),
            _Field('options', '', 'compare-trained: what overrode its config, null if nothing did', _OBJECT_OR_MISSING),
            _Field(
                'curves',
                '',
                'compare-trained: `loss`, pairs of iteration and training loss, and `box_ap` and `mask_ap`, pairs of '
                'epoch and percent points on the validation data',
                _CURVES,
            ),
        ),
        ('dataset', 'checkpoint', 'seed', 'contender'),
    ),
    'profile': _Kind(
        'Where the time of an optimized backbone goes.',
        (
            _Field('arch', '', 'the variant'),
            _Field('shape threads', 'pixels, 1', 'the image, and threads of torch'),
            _Field('parts', '1', 'kind of operator → its share of the time', _FILLED),
        ),
        ('shape', 'threads'),
    ),
    'training': _Kind(
        'What a training step of a backbone costs.',
        (
            _Field(
                'arch contender', '', 'the variant, and whose implementation or which recomputation', _TEXT_OR_MISSING
            ),
            _Field('shape batch threads', 'pixels, 1, 1', 'the images, and threads of torch'),
            _Field('device', '', '`cpu` or a GPU such as `cuda:0`', _TEXT),
            _Field('precision', '', '`fp32`, `tf32`, or `fp16` or `bf16` by autocast', _TEXT),
            _Field('memory_format', '', 'of images and weights: `contiguous` or `channels_last`', _TEXT),
            _Field(
                'held_mib',
                'MiB',
                'what the forward pass makes and holds for the backward pass, with outputs; on a GPU the most memory '
                'that the step holds beyond weights and images',
                _POSITIVE,
            ),
            _Field('median_ms', 'ms', 'of a forward and a backward pass, models in turn', _POSITIVE),
            _Field('quartiles_ms times_ms', 'ms', 'the same'),
            _Field('flags', '', 'as of latencies; not in older records'),
        ),
        ('contender', 'shape', 'batch', 'threads', 'device', 'precision', 'memory_format'),
    ),
    'gpu': _Kind(
        'What was measured on a GPU beside latencies and trainings.',
        (
            _Field(
                'part',
                '',
                '`peaks`: the ceilings, large triads and large products; `differences`: of each way to run a backbone '
                'from float64; `kernel`: the fused block; `demo`: a training on the generated data',
                _GPU_PART,
            ),
            _Field('settings', '', 'what tells measurements of the `row` apart, such as `precision`', _OBJECT),
            _Field('figures', '', 'what was found, with the unit at the end of a name', _FILLED),
        ),
        ('part', 'settings'),
    ),
    'ops': _Kind(
        "mmcv's operators or torchvision's: one alone, or the demo's detector with all of them.",
        (
            _Field('contender threads', ', 1', 'whose operators, `mmcv` or `torchvision`, and threads of torch'),
            *_LATENCIES,
        ),
        ('contender', 'threads'),
    ),
    'swap': _Kind(
        'A network before and after its k×k convolutions became PConv and 1×1: `tools/swap_pconv.py`.',
        (
            _Field('shape partial_ratio', 'pixels, 1', 'the image, and the share of channels that a PConv convolves'),
            _Field('params_before params_after', '1', 'of the network with random weights', _COUNT),
            _Field('flops_before flops_after', 'multiply-adds', 'every operator that multiplies and adds', _COUNT),
            _Field('swapped', '1', 'convolutions that became PConv and 1×1', _COUNT),
            _Field('left', '', 'why others did not → how many', _OBJECT),
            _Field(
                'max_difference',
                '1',
                'largest difference of the outputs over the largest value: the new layers are not trained',
                _NUMBER_OR_MISSING,
            ),
            _Field('threads', '1', 'of torch on the CPU; missing without latencies', _COUNT_OR_MISSING),
            _Field(
                'before after',
                'ms',
                'latencies of one image in eager fp32, taken in turns: the fields from `median_ms` to `flags` of kind '
                '`latency`; missing if nothing was swapped or timed',
                _TIMED_OR_MISSING,
            ),
        ),
        ('shape', 'partial_ratio'),
    ),
    'artifact': _Kind(
        "A detector's file in a runtime: `make artifacts`. A part that is not measured yet is missing.",
        (
            _Field(
                'file sha256',
                '',
                'its name and its digest; several digests of a model in several files',
                _TEXT,
            ),
            _Field('size_bytes', 'bytes', 'of the file, with what lies beside it', _POSITIVE),
            _Field(
                'runtime version',
                '',
                'what ran it, such as `OpenVINO bf16`, and its version. `PyTorch`: the checkpoint, the reference',
                _TEXT,
            ),
            _Field('dataset data_images', ', 1', 'the annotations, and how many of their images have the AP'),
            _Field('threads', '1', 'of the runtime; in the throughput also images at once', _COUNT),
            _Field(
                'box_ap mask_ap', 'percent points', "COCO's, by pycocotools; null without masks", _PERCENT_OR_MISSING
            ),
            _Field(
                'start_s',
                's',
                'in a process of its own: from loading the runtime to the objects in the first image, the median of '
                '`starts_s`',
                _POSITIVE_OR_MISSING,
            ),
            _Field('starts_s', 's', 'of each process', _POSITIVES_OR_MISSING),
            _Field(
                'peak_mib',
                'MiB',
                'the most memory that this process held, until the largest image; null where the system does not say '
                'it',
                _POSITIVE_OR_MISSING,
            ),
            _Field(
                'median_ms p95_ms',
                'ms',
                'of an image, from decoded pixels in memory to boxes and masks in its own pixels, with resizing',
                _POSITIVE_OR_MISSING,
            ),
            _Field('interval_ms', 'ms', 'of the median: 95 %, by a bootstrap over the images', _INTERVAL_OR_MISSING),
            _Field('images', '1', 'distinct images that the latency is taken on', _COUNT_OR_MISSING),
            _Field(
                'throughput',
                'images/s',
                'with as many images at once as threads: the median of the turns',
                _POSITIVE_OR_MISSING,
            ),
            _Field(
                'rounds',
                '',
                'per turn as of latencies: `times_ms`, two passes over some images; and `parallel_s`, seconds of one '
                'pass with images at once',
            ),
            _Field('flags', '', 'as of latencies', _TEXTS_OR_MISSING),
            _Field('run', '', 'equal for artifacts that took turns; others are not compared', _TEXT_OR_MISSING),
        ),
        ('sha256', 'runtime', 'version', 'dataset', 'data_images', 'threads'),
    ),
    'lacking': _Kind(
        'What `make engines` or `make artifacts` leaves out on this machine.',
        (
            _Field('contender precision', '', 'the engine or runtime, and what it would compute in', _TEXT),
            _Field('reason', '', 'what the machine lacks', _TEXT),
        ),
        ('contender',),
    ),
    'paper': _Kind(
        "A measurement of one of the paper's experiments.",
        (
            _Field('experiment', '', 'its name, such as `operators`', _TEXT),
            _Field('settings', '', 'what tells measurements of the `row` apart', _OBJECT),
            _Field('figures', '', 'what was found, with the unit at the end of a name', _FILLED),
        ),
        ('experiment', 'settings'),
    ),
    'demo': _Kind(
        'The outcome of `make demo`, `make demo-seg` or `own_data --train`.',
        (_Field('figures', '', 'metrics from 0 to 1, and the seconds of each part', _FILLED),),
        (),
    ),
}


_KIND = _Check(f'one of {", ".join(KINDS)}', lambda value: isinstance(value, str) and value in KINDS)
_COMMON = (
    _Field('kind', '', 'one of the kinds below', _KIND),
    _Field('row', '', "the name in the list of rows, or the config's own", _TEXT),
    _Field('label', '', 'what tables and plots call it', _TEXT),
    _Field(
        'family config',
        '',
        'of a backbone that is compared: the family whose colour it has, and its config',
        _TEXT_OR_MISSING,
    ),
    _Field('date', '', 'UTC', _TEXT),
    _Field(
        'commit',
        '',
        'of this repository, followed by `+` if the code differed from it; null outside a clone',
        _TEXT_OR_MISSING,
    ),
    _Field('command', '', 'what was run', _TEXT_OR_MISSING),
)


# What a report adds to an AP, the range of its seeds, and draws wherever it finds it.
_RANGES = (_Field('box_range mask_range', 'percent points', 'lowest and highest', _PERCENTS),)


def shown(value: Any) -> str:
    """A value of a file for a message: without control characters, in a line."""
    text = repr(value)
    return text if len(text) <= 200 else f'{text[:200]}…'


def check_record(record: Any) -> None:
    """Make sure that a record has what its kind asks for."""
    _check_fields(record, (*_COMMON, *_RANGES))
    _check_fields(record, KINDS[record['kind']].fields)


def check_machine(machine: Any) -> None:
    """Make sure that a file's machine has what it needs."""
    _check_fields(machine, _MACHINE)


def _check_fields(entry: Any, fields: tuple[_Field, ...]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f'should be an object, but is {shown(entry)}')
    for field in fields:
        for name in field.names.split():
            if field.check and not field.check.holds(entry.get(name)):
                raise ValueError(f'"{name}" should be {field.check.expected}, but is {shown(entry.get(name))}')


_PAGE = """# Records

Generated from the schema that records are checked against; do not edit.

Every figure in the tables, plots and pages of this project comes from a record. A file of records is one JSON object:
`format`, which is `"{format}"`; `version`, {version}, which rises when a field changes its meaning (files of earlier
versions are read); `machine`, where everything in the file was measured; and `records`, a list, each of one `kind`.

Files of several machines go into one page: `tools/benchmark/compare.py --records mine.json yours.json`.

## Machine

{machine}

## Every record

{common}

{kinds}
"""


def schema_page() -> str:
    """The format of a file of records as a page in Markdown: docs/records.md.

    Returns:
        The text.

    Example:
        >>> schema_page().splitlines()[0]
        '# Records'
    """
    kinds = '\n\n'.join(f'## Kind `{name}`\n\n{kind.text}\n\n{_table(kind.fields)}' for name, kind in KINDS.items())
    return _PAGE.format(format=FORMAT, version=VERSION, machine=_table(_MACHINE), common=_table(_COMMON), kinds=kinds)


def _table(fields: tuple[_Field, ...]) -> str:
    lines = [(', '.join(f'`{name}`' for name in field.names.split()), field.unit, field.text) for field in fields]
    return '\n'.join(f'| {" | ".join(line)} |' for line in [('field', 'unit', ''), ('---', '---', '---'), *lines])
