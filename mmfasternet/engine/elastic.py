"""torchrun, with the exit status of the process that ended first: a scheduler sees whether a new start helps.

python -m mmfasternet.engine.elastic [options of torchrun] tools/train.py CONFIG --launcher pytorch …
"""

import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

__all__ = ['launch']


def launch(arguments: list[str]) -> None:
    """Run torchrun; torchrun's own exit status is 1, whatever its processes end with.

    Args:
        arguments: The arguments of torchrun.

    Raises:
        SystemExit: If a process fails, with its status, or with 128 + n if signal n killed it or torchrun: 143 for
            SIGTERM, which a training that was told to stop also ends with.

    Example:
        >>> launch(['--help'])  # doctest: +ELLIPSIS
        usage: ...
    """
    try:
        run.main(arguments)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        sys.exit(status if status > 0 else 128 - status)
    except SignalException as error:
        sys.exit(128 + error.sigval)


if __name__ == '__main__':
    launch(sys.argv[1:])
