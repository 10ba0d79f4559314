"""The commands that start ``tools/train.py`` and ``tools/test.py``: as one process, by torchrun, or as slurm jobs."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mmfasternet.errors import UserError

from .config import project_root

__all__ = ['LAUNCHERS', 'Launcher', 'tool_command']

LAUNCHERS = ('none', 'pytorch', 'slurm')


@dataclass(frozen=True)
class Launcher:
    """Builds the commands that train and test.

    Args:
        kind: 'none', 'pytorch' (tools/dist_*.sh) or 'slurm' (tools/slurm_*.sh). Defaults to 'none'.
        gpus: Number of processes, one per GPU. Defaults to 1.
        partition: Slurm's partition, required by 'slurm'. Defaults to None.

    Raises:
        UserError: If these arguments contradict each other.

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
            raise UserError(f'at least 1 GPU is needed, but got gpus={self.gpus}')
        if self.kind == 'none' and self.gpus > 1:
            raise UserError(f'{self.gpus} GPUs need --launcher pytorch or slurm')
        if (self.kind == 'slurm') != (self.partition is not None):
            raise UserError('--launcher slurm and --partition belong together')

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that the scripts read."""
        return dict(PYTHON=sys.executable, GPUS=str(self.gpus), GPUS_PER_NODE=str(min(self.gpus, 8)))

    def train(self, config: str | Path, work_dir: str | Path, options: list[str]) -> list[str]:
        """The command that trains, or resumes the training in ``work_dir``.

        Args:
            config: Config file.
            work_dir: Folder for logs and checkpoints.
            options: More arguments for tools/train.py.

        Returns:
            The words of the command.
        """
        # slurm_train.sh takes the work dir as an argument of its own.
        at = [] if self.kind == 'slurm' else ['--work-dir', work_dir]
        return self._command('train', [config], work_dir, [*at, '--resume', *options])

    def test(self, config: str | Path, checkpoint: str | Path, work_dir: str | Path, options: list[str]) -> list[str]:
        """The command that tests a checkpoint.

        Args:
            config: Config file.
            checkpoint: Its weights, a path or URL.
            work_dir: Folder for logs and metrics.
            options: More arguments for tools/test.py.

        Returns:
            The words of the command.
        """
        return self._command('test', [config, checkpoint], work_dir, ['--work-dir', work_dir, *options])

    def problems(self) -> list[str]:
        """What this machine lacks to run these commands, one message each."""
        if self.kind == 'slurm':
            return [] if shutil.which('srun') else ['srun is not on the PATH; run this on a node of the cluster']
        found = torch.cuda.device_count()
        # Without a GPU the processes train on CPUs, through gloo.
        return [f'{self.gpus} GPUs were requested, but this machine has {found}'] if 0 < found < self.gpus else []

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


def tool_command(tool: str, arguments: Sequence[str | Path]) -> str:
    """A command that calls a tool in the way in which the running one was called.

    Args:
        tool: Its name.
        arguments: Its arguments.

    Returns:
        The line for a shell.

    Example:
        >>> tool_command('test', ['my config.py', 'epoch_12.pth']).partition(' ')[2][-27:]
        "'my config.py' epoch_12.pth"
    """
    called = Path(sys.argv[0])
    # mmfasternet puts its own name and that of the tool there.
    words = ['python', called.with_name(f'{tool}.py')] if called.suffix == '.py' else ['mmfasternet', tool]
    return shlex.join(map(str, [*words, *arguments]))
