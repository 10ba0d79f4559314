"""Kill a training at random moments, resume it each time, and see that it ends as if it had never been killed.

Run as a program, with a config of a few seconds: ``python kills.py CONFIG FOLDER --kills 100 --processes 2``. Trainings
are forked from it, after it has imported everything, so that a kill and a resume take seconds.
"""

import argparse
import atexit
import json
import os
import random
import runpy
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path

from helpers.project import ROOT

WAYS = ('kill', 'SIGTERM', 'SIGUSR1', 'worker', 'save', 'validation', 'stop in a validation')


def losses(work_dir: Path) -> dict[int, set[float]]:
    """Iteration → every loss that was ever logged for it, over all resumes."""
    found: dict[int, set[float]] = {}
    for path in work_dir.glob('*/vis_data/scalars.json'):
        text = path.read_text()
        for line in text[: text.rfind('\n') + 1].splitlines():
            logged = json.loads(line)
            if 'loss' in logged:
                found.setdefault(logged['iter'], set()).add(logged['loss'])
    return found


def same_end(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same weights, moving averages and states of the optimizer, to the last bit."""
    import torch

    from mmfasternet.weights import read_checkpoint

    a, b = read_checkpoint(one), read_checkpoint(other)
    same = [
        torch.equal(value, b[part][key]) for part in ('state_dict', 'ema_state_dict') for key, value in a[part].items()
    ]
    moments = [a['optimizer']['state'][key] for key in a['optimizer']['state']]
    others = [b['optimizer']['state'][key] for key in b['optimizer']['state']]
    same += [torch.equal(x[name], y[name]) for x, y in zip(moments, others, strict=True) for name in x]
    return all(same)


class Job:
    """A training by tools/train.py, as one process or several, which resumes what lies in its folder."""

    def __init__(self, config: Path, work_dir: Path, processes: int) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self.ended: list[int] = []
        self.pids = [self._fork(config, work_dir, rank, processes, port) for rank in range(processes)]

    def _fork(self, config: Path, work_dir: Path, rank: int, processes: int, port: int) -> int:
        if pid := os.fork():
            return pid
        os.setsid()
        work_dir.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(work_dir.with_suffix(f'.{rank}.log'), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        several = dict(WORLD_SIZE=processes, MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=rank, LOCAL_RANK=rank)
        launcher = ['none']
        if processes > 1:
            os.environ.update({name: str(value) for name, value in several.items()})
            launcher = ['pytorch']
        sys.argv = ['train.py', str(config), '--work-dir', str(work_dir), '--resume', '--launcher', *launcher]
        status = 1
        try:
            runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
            status = 0
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            else:
                status = stop.code or 0
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(status)

    def wait(self, seconds: float) -> list[int | None]:
        """The exit statuses, None for what still runs; negative ones are signals."""
        deadline = time.monotonic() + seconds
        while self.pids and time.monotonic() < deadline:
            for pid in list(self.pids):
                if (done := os.waitpid(pid, os.WNOHANG))[0]:
                    self.ended.append(os.waitstatus_to_exitcode(done[1]))
                    self.pids.remove(pid)
            time.sleep(0.02)
        return [*self.ended, *(None for _ in self.pids)]

    def workers(self) -> list[int]:
        """The data workers."""
        found = []
        for entry in Path('/proc').glob('[0-9]*/stat'):
            try:
                parent = int(entry.read_text().rpartition(')')[2].split()[1])
            except OSError:
                continue
            if parent in self.pids:
                found.append(int(entry.parent.name))
        return found


def variant(config: Path, folder: Path, **kill: object) -> Path:
    """The config with a hook that kills."""
    path = folder / 'killing.py'
    path.write_text(
        f'_base_ = {str(config)!r}\n'
        f'custom_hooks = [*_base_.custom_hooks, dict(type="KillHook", **{kill!r})]\n'
        'custom_imports = dict(imports=["mmfasternet", "helpers.kill_hook"])\n'
    )
    return path


def kill_once(way: str, job: Job, moment: float, rng: random.Random) -> list[int | None]:
    """Kill a job in some way after some seconds, unless it ends before; gives the exit statuses."""
    job.wait(moment)
    while way == 'worker' and job.pids and not job.workers():
        job.wait(0.1)
    # The others are killed by a hook.
    if job.pids and way in ('kill', 'worker', 'SIGTERM', 'SIGUSR1'):
        targets = job.workers() if way == 'worker' else job.pids
        if targets:
            os.kill(rng.choice(targets), getattr(signal, way if way.startswith('SIG') else 'SIGKILL'))
    return job.wait(120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    from mmfasternet.engine.config import load_config
    from mmfasternet.engine.ops import provide_ops

    provide_ops()
    import helpers.kill_hook  # noqa: F401
    import mmfasternet.engine.training  # noqa: F401

    epochs = load_config(args.config).train_cfg.max_epochs
    name = f'epoch_{epochs}.pth'

    start = time.monotonic()
    reference = args.folder / 'reference'
    statuses = Job(args.config, reference, args.processes).wait(600)
    assert set(statuses) == {0}, f'the reference ended with {statuses}'
    seconds = time.monotonic() - start
    expected = losses(reference)
    print(f'not killed, {seconds:.1f} s: {len(expected)} iterations', flush=True)

    rng = random.Random(args.seed)
    work_dir, ends, kills, ways = args.folder / 'killed', 0, 0, Counter()
    while True:
        way = rng.choice(WAYS) if kills < args.kills else None
        config = args.config
        at = rng.randint(1, epochs)
        if way == 'save':
            config = variant(args.config, args.folder, at_save=at)
        elif way == 'validation':
            config = variant(args.config, args.folder, at_val=at)
        elif way == 'stop in a validation':
            config = variant(args.config, args.folder, at_val=at, name='SIGTERM')
        job = Job(config, work_dir, args.processes)
        statuses = job.wait(600) if way is None else kill_once(way, job, rng.uniform(0, 0.8 * seconds), rng)
        assert None not in statuses, f'{way}: a process still ran after two minutes'
        if set(statuses) != {0}:
            assert way is not None, f'not killed, but ended with {statuses}'
            kills += 1
            ways[way] += 1
            print(f'{kills}: {way}, ended with {statuses}', flush=True)
            continue
        found = losses(work_dir)
        assert found == expected, (
            f'other losses: {[(i, expected.get(i), found.get(i)) for i in found if found[i] != expected.get(i)]}'
        )
        assert same_end(reference / name, work_dir / name), 'other weights'
        left = {path.name for path in work_dir.glob('*.pth*')} | {path.name for path in work_dir.glob('.*.part')}
        assert left == {path.name for path in reference.glob('*.pth*')}, f'left over: {left}'
        ends += 1
        if way is None:
            break
        shutil.rmtree(work_dir)
    assert kills >= args.kills
    print(
        f'{kills} kills ({", ".join(f"{way} {count}" for way, count in ways.most_common())}), {kills} resumes; '
        f'{ends} trainings ended, each with the losses and weights of the one that was not killed'
    )


if __name__ == '__main__':
    main()
