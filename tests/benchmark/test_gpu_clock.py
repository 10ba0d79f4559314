"""What is measured on a GPU, with a GPU that never was: its two clocks, its memory, its state and its records."""

import sys
from types import SimpleNamespace

import pytest
import torch
from helpers.made_up import GPU

from mmfasternet.benchmark.measure import gpu, turns
from mmfasternet.benchmark.measure.backends import backend_forward, check_backend, running
from mmfasternet.benchmark.measure.gpu import peak_mib, stream_times
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.measure.precision import (
    LackingError,
    check_computed,
    check_difference,
    check_precision,
    in_precision,
)
from mmfasternet.benchmark.measure.turns import Clock, Contender, summarize, take_turn
from mmfasternet.benchmark.records import describe_machine
from mmfasternet.benchmark.records.gpu import gpu_facts, gpu_state
from mmfasternet.benchmark.records.machine import machine_id, provenance
from mmfasternet.errors import UserError

LAUNCH_MS, WORK_MS = 0.02, 0.1


class FakeGpu:
    """A GPU that takes 0.02 ms to be given 0.1 ms of work, and whose clock is the only one that passes."""

    def __init__(self) -> None:
        self.now = 0.0  # ms, of the host
        self.free_at = 0.0  # ms, when the GPU will have done what it was given
        self.allocated, self.peak, self.synchronized = 10 * 2**20, 0, 0

    def run(self) -> str:
        self.now += LAUNCH_MS
        self.free_at = max(self.free_at, self.now) + WORK_MS
        self.peak = max(self.peak, self.allocated + 3 * 2**20)
        return 'output'

    def synchronize(self, device: object = None) -> None:
        self.synchronized += 1
        self.now = max(self.now, self.free_at)

    def event(self, enable_timing: bool) -> SimpleNamespace:
        event = SimpleNamespace(at=None)
        event.record = lambda: setattr(event, 'at', max(self.now, self.free_at))
        event.synchronize = self.synchronize
        event.elapsed_time = lambda other: other.at - event.at
        return event


@pytest.fixture
def fake(monkeypatch) -> FakeGpu:
    fake = FakeGpu()
    for module in (gpu, turns):
        monkeypatch.setattr(module.time, 'perf_counter', lambda: fake.now / 1000)
    for name, value in dict(
        synchronize=fake.synchronize,
        Event=fake.event,
        reset_peak_memory_stats=lambda device: setattr(fake, 'peak', fake.allocated),
        memory_allocated=lambda device: fake.allocated,
        max_memory_allocated=lambda device: fake.peak,
        get_device_capability=lambda device: (9, 0),
        device=lambda device: torch.no_grad(),
    ).items():
        monkeypatch.setattr(torch.cuda, name, value)
    return fake


@pytest.fixture
def nvml(monkeypatch) -> SimpleNamespace:
    """The driver's library; its reasons for a lower clock are a thermal slowdown and the power limit."""
    nvml = SimpleNamespace(
        NVMLError=type('NVMLError', (Exception,), {}),
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
        nvmlSystemGetDriverVersion=lambda: '580.1',
        nvmlDeviceGetPowerManagementLimit=lambda handle: 700_000,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x44,
        nvmlDeviceGetClockInfo=lambda handle, kind: 1755,
        nvmlDeviceGetPowerUsage=lambda handle: 345_678,
        nvmlDeviceGetTemperature=lambda handle, sensor: 61,
    )
    monkeypatch.setitem(sys.modules, 'pynvml', nvml)
    monkeypatch.setattr(torch.cuda, '_get_pynvml_handler', lambda device: 'handle')
    return nvml


def test_two_clocks(fake, nvml):
    turn, output = take_turn(Contender('T0', fake.run), Clock('cuda:0'))
    assert output == 'output'
    # One who waits for each run also waits for its launch; a row of runs is as fast as the GPU.
    assert turn['times_ms'] == pytest.approx([LAUNCH_MS + WORK_MS] * turns._MOST_KEPT)
    assert turn['stream_ms'] == pytest.approx([WORK_MS] * 5, rel=0.05)
    # Warm-up and both clocks last as long as they should, although a run is short.
    assert 0.15 + 0.2 + 0.2 <= fake.now / 1000 < 0.7
    assert turn['clock_mhz'] == 1755 and turn['power_w'] == 346 and turn['temperature_c'] == 61
    assert turn['throttled'] == ['power limit', 'hardware thermal slowdown']
    found = summarize([turn], 'cuda:0', batch=32, busy_threads=1)
    assert found['median_ms'] == pytest.approx(0.12) and found['stream_ms'] == pytest.approx(0.1, rel=0.05)
    assert found['throughput'] == pytest.approx(32 * 1000 / 0.1, rel=0.05)


def test_nothing_is_timed_before_the_gpu_has_done_what_it_was_given(fake):
    fake.run()
    for _ in range(10_000):
        fake.free_at += WORK_MS
    times, _ = turns.timed_runs(fake.run, 'cuda:0', 0, 1)
    assert times == pytest.approx([(LAUNCH_MS + WORK_MS) / 1000])


def test_a_row_of_runs_is_no_longer_than_asked(fake):
    before = fake.now
    assert stream_times(fake.run, 'cuda:0', 0.05) == pytest.approx([WORK_MS] * 5, rel=0.05)
    assert fake.now - before == pytest.approx(50, rel=0.2)


def test_peak_memory_is_what_a_run_adds(fake):
    assert peak_mib(fake.run, 'cuda:0') == 3.0


def test_a_gpu_that_is_held_back_is_flagged_but_not_at_its_power_limit(fake):
    turn = dict(times_ms=[1.0], load_average=0.5, clock_mhz=1755.0, stream_ms=[1.0])

    def flags(**changes: object) -> list[str]:
        return summarize([turn, dict(turn, **changes)], 'cuda:0', 1, busy_threads=1)['flags']

    assert flags(throttled=['power limit']) == [] and flags(load_average=1.0) == []
    (held_back,) = flags(throttled=['power limit', 'hardware thermal slowdown'])
    assert held_back.endswith('held back: hardware thermal slowdown')
    (load,) = flags(load_average=1000.0)
    assert 'launching the work of the GPU was held up' in load


@pytest.mark.parametrize('error', [RuntimeError, ImportError, 'NVMLError'])
def test_a_driver_that_does_not_answer_leaves_the_state_out(nvml, monkeypatch, error):
    def refuse(device: str) -> None:
        raise nvml.NVMLError if error == 'NVMLError' else error

    if error is ImportError:
        monkeypatch.setitem(sys.modules, 'pynvml', None)
    else:
        monkeypatch.setattr(torch.cuda, '_get_pynvml_handler', refuse)
    assert gpu_state('cuda:0') == {}


def test_the_machine_says_what_its_gpu_is(nvml, monkeypatch):
    facts = SimpleNamespace(total_memory=80 * 2**30, multi_processor_count=132, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: facts)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'NVIDIA H100')
    monkeypatch.setattr(torch.backends.cudnn, 'version', lambda: 92400)
    machine = describe_machine('cuda:0')
    assert (machine['label'], machine['gpu_memory_gb'], machine['multiprocessors']) == ('NVIDIA H100', 80.0, 132)
    assert (machine['capability'], machine['driver'], machine['power_limit_w']) == ('9.0', '580.1', 700)
    # A virtual machine's memory varies from start to start.
    assert machine_id(dict(machine, memory_gb=1)) == machine['id'] != machine_id(dict(machine, driver='590.2'))
    monkeypatch.setitem(sys.modules, 'pynvml', None)
    assert gpu_facts('cuda:0').keys() == {'gpu_memory_gb', 'multiprocessors', 'capability', 'cuda', 'cudnn'}


def test_the_commit_of_files_that_were_sent_without_their_history(monkeypatch):
    monkeypatch.setenv('MMFASTERNET_COMMIT', '0123456789')
    known = provenance()['commit']
    assert known != '0123456789'
    monkeypatch.setattr('mmfasternet.benchmark.records.machine._commit', lambda: None)
    assert provenance()['commit'] == '0123456789'


def test_what_a_precision_computes_in(monkeypatch, fake):
    def flags() -> tuple:
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    before, seen = (flags(), torch.backends.cudnn.benchmark), {}
    monkeypatch.setattr(torch, 'autocast', lambda kind, dtype, enabled: torch.no_grad())
    for precision in ('fp32', 'tf32', 'fp16'):
        with running('eager', precision, 'cuda:0'):
            seen[precision] = flags()
            assert torch.backends.cudnn.benchmark
    # The tensors that half precision leaves in float32 are not in TF32 either.
    assert seen == dict(fp32=(False, 'highest'), tf32=(True, 'high'), fp16=(False, 'highest'))
    assert (flags(), torch.backends.cudnn.benchmark) == before


def test_older_gpus_lack_precisions(monkeypatch, fake):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'GeForce RTX 2080 Ti')
    for precision in ('tf32', 'bf16'):
        with pytest.raises(LackingError, match=f'{precision} needs a GPU from Ampere on .* older: GeForce RTX 2080 Ti'):
            check_precision(precision, 'cuda:0')
    check_precision('fp16', 'cuda:0')
    with pytest.raises(LackingError, match="tf32 is a precision of NVIDIA's GPUs .* cpu is not: use fp32"):
        Protocol(scopes=('backbone',), precision='tf32')


def test_tf32_is_told_from_fp32():
    """In a network of which cuDNN computes some layers in fp32, too."""
    assert check_computed('eager', 'tf32', None, 6e-5) == 'tf32'
    with pytest.raises(LackingError, match='eager computes in fp32 here when tf32 is asked for'):
        check_computed('eager', 'tf32', None, 1e-5)


@pytest.mark.parametrize('precision, allowed', [('fp32', 9e-5), ('tf32', 4e-3), ('fp16', 1e-2), ('bf16', 7e-2)])
def test_how_far_a_precision_may_be_off(precision, allowed):
    check_difference('compile', precision, allowed)
    for wrong in (10 * allowed, float('nan')):
        with pytest.raises(UserError, match=f'compile gives maps .* is allowed in {precision}, so it is not measured'):
            check_difference('compile', precision, wrong)


def test_what_onnxruntime_computes_in_on_a_gpu():
    check_backend('onnxruntime', 'CUDAExecutionProvider', 'cuda:0', 'tf32')
    check_backend('onnxruntime', 'TensorrtExecutionProvider', 'cuda:0', 'fp16')
    with pytest.raises(UserError, match='TensorrtExecutionProvider runs a float32 file in tf32 or fp16; fp32 is for'):
        check_backend('onnxruntime', 'TensorrtExecutionProvider', 'cuda:0', 'fp32')


def test_weights_that_are_cast_need_no_autocast():
    """On any CPU: it is PyTorch's own bfloat16, also where it is emulated."""
    torch.manual_seed(0)
    model, image = (
        torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), OneMap()).eval().requires_grad_(False),
        torch.rand(1, 3, 32, 32),
    )
    seen = []
    model[0].register_forward_pre_hook(lambda module, inputs: seen.append((inputs[0].dtype, module.weight.dtype)))
    try:
        prepared = backend_forward(model, image, 'eager', 1, precision='bf16', weights='cast')
    except LackingError as error:
        pytest.skip(f'{error}')
    assert prepared.computed_in == 'bf16' and 1e-4 < prepared.max_difference < 8e-2
    assert seen == [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.float32)]
    assert model[0].weight.dtype == torch.float32


class OneMap(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x,)


def test_a_precision_of_the_cpu_is_exact_inside_and_as_before_outside():
    before = torch.get_float32_matmul_precision()
    with in_precision('fp32', 'cpu'):
        assert torch.get_float32_matmul_precision() == 'highest'
    assert torch.get_float32_matmul_precision() == before and GPU['device'] == 'cuda:0'
