"""One artifact, one row: the AP, latency, throughput, start, memory and size of a detector's file in a runtime.

All of them are of that very file. Each part is saved as soon as it is done; the latencies of all artifacts are one
part, since they take turns.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from mmfasternet.benchmark.measure.openvino_core import openvino_core
from mmfasternet.benchmark.measure.precision import openvino_precision
from mmfasternet.benchmark.measure.turns import Clock, Contender, progress_bar, rotate, take_turn, use_threads
from mmfasternet.benchmark.records import Records
from mmfasternet.cores import usable_cores
from mmfasternet.datasets import read_image
from mmfasternet.engine.annotated import Data, average_precision, evenly, read_data, to_entries
from mmfasternet.errors import UserError
from mmfasternet.files import file_digest
from mmfasternet.predictions.sidecar import sidecar_of

from .figures import RUNS, summarize_images
from .runtimes import RUNTIMES, Detector, Runtime, open_detector, runtimes_of
from .start import start_once

__all__ = ['Artifact', 'Plan', 'measure_artifacts']

# Images of a turn: at least as many as the 95th percentile needs.
_IN_A_TURN = 20


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        images: Images of the AP, evenly spaced. None means all.
        timed: Distinct images of the latency, evenly spaced, at most; fewer where ``seconds`` are over.
        seconds: Seconds of timed runs of each artifact after which no more images follow.
        starts: Processes that are started.
    """

    images: int | None = None
    timed: int = 100
    seconds: float = 10
    starts: int = 3


@dataclass(frozen=True)
class Artifact:
    """A file in a runtime.

    Args:
        path: The file.
        name: One of ``RUNTIMES``.
        digest: The SHA-256 of the file, with what lies beside it: weights of an OpenVINO IR and of ncnn, and JSON.
    """

    path: Path
    name: str
    digest: str

    @property
    def runtime(self) -> Runtime:
        """The runtime."""
        return RUNTIMES[self.name]

    @property
    def label(self) -> str:
        """What tables and messages call it."""
        return f'{self.path.name}, {self.runtime.label}'


def measure_artifacts(
    files: Sequence[str | Path],
    config: str | Path,
    records: Records,
    runtimes: Sequence[str] = tuple(RUNTIMES),
    plan: Plan | None = None,
    trust: bool = False,
) -> None:
    """Measure files in all runtimes that take them, as far as it is not recorded.

    Args:
        files: Files of ``tools/export.py`` (``*.onnx``, ``*.ncnn.param``, ``*.pte``), OpenVINO IRs of the first
            (``*.xml``), and checkpoints (``*.pth``), which come first as the reference.
        config: The config whose test data is used; a checkpoint's model is that of it.
        records: Where the figures are, and go.
        runtimes: Names in ``RUNTIMES``. Defaults to all.
        plan: How much. None means ``Plan()``. Defaults to None.
        trust: Whether checkpoints are trusted in the processes that are started. Defaults to False.

    Raises:
        UserError: If a file is no complete detector or has other classes than the data, the config has no annotated
            images, or a runtime is not installed; before anything is measured.
    """
    plan, threads = plan or Plan(), usable_cores()
    data = read_data(config, plan.images)
    artifacts = [one for one in _artifacts(files, runtimes) if not _lacks(one.runtime, records)]
    for artifact in [one for one in artifacts if _lacked(one.runtime)]:
        records.add(_lacking(artifact.runtime, "this CPU has no instructions for it, says OpenVINO's list"))
        artifacts.remove(artifact)
    entries = {one: _Entry(one, data, threads, records) for one in artifacts}
    run = _run_of(artifacts)
    if all(entry.is_complete(run) for entry in entries.values()):
        return
    with use_threads(threads):
        detectors = _open_all(entries, data, config, threads, records)
        run = _run_of(list(detectors))
        for artifact, detector in detectors.items():
            if not entries[artifact].has('box_ap'):
                entries[artifact].add(**average_precision(data, _find(detector, data, artifact.label)))
        for artifact in detectors:
            if not entries[artifact].has('start_s'):
                entries[artifact].add(**_start(artifact, config, data, threads, plan.starts, trust))
        if not all(entries[artifact].is_complete(run) for artifact in detectors):
            images = [read_image(path) for path in evenly(list(data.images.values()), plan.timed)]
            for artifact, figures in _take_turns(detectors, images, plan, threads).items():
                entries[artifact].add(run=run, **figures)


class _Entry:
    """The record of an artifact, which grows by parts."""

    def __init__(self, artifact: Artifact, data: Data, threads: int, records: Records) -> None:
        self._records = records
        self._fixed = dict(
            kind='artifact',
            row=artifact.path.name,
            label=artifact.label,
            file=artifact.path.name,
            sha256=artifact.digest,
            size_bytes=sum(path.stat().st_size for path in _parts(artifact.path)),
            runtime=artifact.runtime.label,
            version=artifact.runtime.version,
            dataset=data.name,
            data_images=len(data.images),
            threads=threads,
        )

    def _found(self) -> dict:
        keys = ('sha256', 'runtime', 'version', 'dataset', 'data_images', 'threads')
        where = {key: self._fixed[key] for key in keys}
        return self._records.find('artifact', self._fixed['row'], **where) or {}

    def has(self, key: str) -> bool:
        return self._found().get(key) is not None

    def is_complete(self, run: str) -> bool:
        """Whether all parts are there, the latency of a run of certain artifacts."""
        return self.has('box_ap') and self.has('start_s') and self._found().get('run') == run

    def add(self, **figures: Any) -> None:
        self._records.add(self._found() | self._fixed | figures)


def _artifacts(files: Sequence[str | Path], names: Sequence[str]) -> list[Artifact]:
    """Each file in each runtime that takes it, checkpoints first."""
    wanted = [(name, Path(path)) for path in files for name in runtimes_of(path) if name in names]
    if not wanted:
        raise UserError(f'none of the files runs in {" or ".join(names)}; leave out --runtimes')
    for _, path in wanted:
        if missing := [part for part in _parts(path) if not part.is_file()]:
            raise UserError(f'{missing[0]} does not exist or is no file; export one by tools/export.py')
    paths = list(dict.fromkeys(path for _, path in wanted))
    if same := {path.name for path in paths if sum(path.name == other.name for other in paths) > 1}:
        raise UserError(f'{len(paths)} files are given, of which several are named {", ".join(same)}; rename them')
    wanted.sort(key=lambda pair: pair[0] != 'pytorch')
    return [Artifact(path, name, ''.join(map(file_digest, _parts(path)))) for name, path in wanted]


def _parts(path: Path) -> list[Path]:
    """The files that a model lies in."""
    ending = path.suffix.lower()
    weights = [path.with_suffix('.bin')] if ending in ('.xml', '.param') else []
    return [path, *weights, *([sidecar_of(path)] if ending in ('.param', '.pte') else [])]


def _run_of(artifacts: list[Artifact]) -> str:
    """Equal for equal artifacts that take turns."""
    return sha256('; '.join(f'{one.name} {one.digest}' for one in artifacts).encode()).hexdigest()[:16]


def _lacked(runtime: Runtime) -> bool:
    """Whether the CPU has no instructions for a runtime's precision."""
    return runtime.precision == 'bf16' and 'BF16' not in openvino_core().get_property(
        'CPU', 'OPTIMIZATION_CAPABILITIES'
    )


def _lacks(runtime: Runtime, records: Records) -> bool:
    return records.of_kind('lacking', contender=runtime.label) != []


def _lacking(runtime: Runtime, reason: str) -> dict:
    common = dict(kind='lacking', row='artifacts', label=runtime.label, contender=runtime.label)
    return dict(common, precision=runtime.precision, reason=reason)


def _open_all(
    entries: dict[Artifact, _Entry], data: Data, config: str | Path, threads: int, records: Records
) -> dict[Artifact, Detector]:
    """The detectors, all in memory; what the CPU turns out to lack is recorded and left out."""
    detectors = {}
    for artifact in entries:
        detector = open_detector(artifact.name, artifact.path, config, threads)
        if list(detector.classes) != data.classes:
            raise UserError(
                f'{artifact.path} has the classes {_short(detector.classes)}, but {data.name} has '
                f'{_short(data.classes)} in the config; give the config of the data that the file is for'
            )
        asked = artifact.runtime.precision
        # A quantized file says int8 in either precision.
        if asked == 'bf16' and openvino_precision(detector.file.compiled) == 'fp32':
            records.add(_lacking(artifact.runtime, f'OpenVINO computes in fp32 here when {asked} is asked for'))
        else:
            detectors[artifact] = detector
    return detectors


def _short(names: Sequence[str]) -> str:
    return f'{", ".join(names[:5])}{", …" * (len(names) > 5)} ({len(names)})'


def _find(detector: Detector, data: Data, label: str) -> Iterator[dict]:
    """What a detector finds in all images."""
    console = Console(stderr=True)
    for image, path in track(data.images.items(), f'AP of {label}', console=console, transient=True):
        try:
            yield from to_entries(data, image, detector(read_image(path)))
        except RuntimeError as error:
            raise UserError(f'{label} cannot run on {path}: {error}') from error


def _start(artifact: Artifact, config: str | Path, data: Data, threads: int, times: int, trust: bool) -> dict:
    """The start of an artifact with an image, and the memory that it takes for this one and the largest one."""
    sizes = {one['id']: one['width'] * one['height'] for one in data.content['images']}
    images = [data.images[image] for image in (next(iter(data.images)), max(data.images, key=sizes.get))]
    starts = [start_once(artifact.name, artifact.path, config, threads, images, trust) for _ in range(times)]
    seconds = [one['seconds'] for one in starts]
    peaks = [one['peak_mib'] for one in starts if one['peak_mib'] is not None]
    return dict(start_s=median(seconds), starts_s=seconds, peak_mib=max(peaks, default=None))


def _take_turns(
    detectors: dict[Artifact, Detector], images: list[np.ndarray], plan: Plan, threads: int
) -> dict[Artifact, dict]:
    """Latencies, and then throughput: in each round some more images, which all artifacts run one after the other."""
    turns: dict[Artifact, list[dict]] = {artifact: [] for artifact in detectors}
    distinct = len(images)
    if distinct < _IN_A_TURN:
        images = list(islice(cycle(images), _IN_A_TURN))
    chunks = [images[start : start + _IN_A_TURN] for start in range(0, len(images), _IN_A_TURN)]
    with progress_bar() as progress:
        task = progress.add_task('latency', total=len(chunks) * len(detectors))
        for number, artifact in rotate(list(detectors), len(chunks)):
            done = [sum(sum(turn['times_ms']) for turn in one[:number]) / 1000 for one in turns.values()]
            if number and min(done) >= plan.seconds:
                break
            turns[artifact].append(_turn(artifact.label, detectors[artifact], chunks[number]))
            progress.advance(task)
    # Afterwards, since its threads would be taken for those of other programs. An image in PyTorch has one of them.
    with use_threads(1), ThreadPoolExecutor(threads) as pool:
        for number, artifact in rotate(list(detectors), min(map(len, turns.values()))):
            seconds = _seconds_in_parallel(detectors[artifact], chunks[number], threads, pool)
            turns[artifact][number]['parallel_s'] = seconds
    distinct = min(distinct, _IN_A_TURN * min(map(len, turns.values())))
    return {artifact: dict(images=distinct) | summarize_images(one, threads) for artifact, one in turns.items()}


def _turn(label: str, detector: Detector, images: list[np.ndarray]) -> dict:
    """``RUNS`` passes over images, wherever the warm-up ends."""
    pending = cycle(images)
    contender = Contender(label, lambda: detector(next(pending)))
    return take_turn(contender, Clock(turn_s=0, least_runs=RUNS * len(images)))[0]


def _seconds_in_parallel(detector: Detector, images: list[np.ndarray], threads: int, pool: ThreadPoolExecutor) -> float:
    """Seconds of a pass over images, as many at once as threads."""
    list(pool.map(detector, images[:threads]))
    start = time.perf_counter()
    list(pool.map(detector, images))
    return round(time.perf_counter() - start, 5)
