"""How ``tools/train.py`` and ``tools/test.py`` are started: as one process, by torchrun, or as slurm jobs."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from mmfasternet.errors import UserError

from .config import project_root

__all__ = ['LAUNCHERS', 'Launcher']

LAUNCHERS = ('none', 'pytorch', 'slurm')


@dataclass(frozen=True)
class Launcher:
    """Makes the commands that train and test.

    Args:
        kind: 'none', 'pytorch' (tools/dist_*.sh) or 'slurm' (tools/slurm_*.sh). Defaults to 'none'.
        gpus: Processes, one a GPU. Defaults to 1.
        partition: Slurm's partition, needed for 'slurm'. Defaults to None.

    Raises:
        UserError: If these don't fit together.

    Example:
        >>> command = Launcher('pytorch', gpus=8).train('configs/mask_rcnn_fasternet_s.py', 'work_dirs/s', [])
        >>> command[2:]
        ['configs/mask_rcnn_fasternet_s.py', '8', '--work-dir', 'work_dirs/s', '--resume']
    """

    kind: str = 'none'
    gpus: int = 1
    partition: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in LAUNCHERS:
            raise UserError(f'launcher must be one of {", ".join(LAUNCHERS)}, but got {self.kind!r}')
        if self.gpus < 1:
            raise UserError(f'at least 1 GPU is needed, but got {self.gpus}')
        if self.kind == 'none' and self.gpus > 1:
            raise UserError(f'{self.gpus} GPUs need --launcher pytorch or slurm')
        if (self.kind == 'slurm') != (self.partition is not None):
            raise UserError('--launcher slurm and --partition belong together')

    @property
    def environment(self) -> dict[str, str]:
        """What the scripts read from the environment."""
        return dict(PYTHON=sys.executable, GPUS=str(self.gpus), GPUS_PER_NODE=str(min(self.gpus, 8)))

    def train(self, config: str | Path, work_dir: str | Path, options: list[str]) -> list[str]:
        """The command that trains, or goes on with what ``work_dir`` has.

        Args:
            config: Config file.
            work_dir: Folder for logs and checkpoints.
            options: More arguments of tools/train.py.

        Returns:
            Its words.
        """
        at = ['--work-dir', work_dir]
        return self._command('train', [config], work_dir, [*(at if self.kind != 'slurm' else []), '--resume', *options])

    def test(self, config: str | Path, checkpoint: str | Path, work_dir: str | Path, options: list[str]) -> list[str]:
        """The command that tests a checkpoint.

        Args:
            config: Config file.
            checkpoint: Weights.
            work_dir: Folder for logs and metrics.
            options: More arguments of tools/test.py.

        Returns:
            Its words.
        """
        return self._command('test', [config, checkpoint], work_dir, ['--work-dir', work_dir, *options])

    def problems(self) -> list[str]:
        """What this machine lacks to start so: sentences, none if it lacks nothing."""
        if self.kind == 'slurm':
            return [] if shutil.which('srun') else ['srun is not on the PATH: start on a node of the cluster']
        found = torch.cuda.device_count()
        # Without a GPU the processes train on CPUs, through gloo.
        return [f'{self.gpus} GPUs were asked for and this machine has {found}'] if 0 < found < self.gpus else []

    def _command(self, tool: str, files: list, work_dir: str | Path, options: list) -> list[str]:
        tools = project_root() / 'tools'
        if self.kind == 'none':
            words = [sys.executable, tools / f'{tool}.py', *files, *options]
        elif self.kind == 'pytorch':
            words = ['bash', tools / f'dist_{tool}.sh', *files, self.gpus, *options]
        else:
            job = [self.partition, Path(work_dir).name, *files, *([work_dir] if tool == 'train' else [])]
            words = ['bash', tools / f'slurm_{tool}.sh', *job, *options]
        return [str(word) for word in words]
