"""torchrun for schedulers: it ends with the status of the process that ended first, and outlives a lost rendezvous.

python -m mmfasternet.engine.elastic [options of torchrun] tools/train.py CONFIG --launcher pytorch …
"""

import os
import sys

__all__ = ['launch']

# Where torchrun reads --max-restarts if it isn't given.
_RESTARTS = 'PET_MAX_RESTARTS'


def launch(arguments: list[str]) -> None:
    """Run torchrun; torchrun's own exit status is 1, whatever its processes end with.

    torchrun starts failed processes again, but ends itself if another machine disappears while they meet. It then
    starts anew here, which counts as one of the restarts that the environment variable ``PET_MAX_RESTARTS`` allows.

    Args:
        arguments: The arguments of torchrun.

    Raises:
        SystemExit: If a process fails, with its status, or with 128 + n if signal n killed it or torchrun: 143 for
            SIGTERM, which a training that was told to stop also ends with. If the port is taken, with a message.
    """
    # Imported here, since torchrun's import sets up logging.
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    # slurm's signal too, which would otherwise end torchrun alone; torchrun of torch 2.1 does not read it.
    os.environ.setdefault('PET_SIGNALS_TO_HANDLE', 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1')
    try:
        run.main(arguments)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        sys.exit(status if status > 0 else 128 - status)
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except (RuntimeError, RendezvousError) as error:
        # A store that is lost is a DistError, which is a RuntimeError; torch 2.1 does not name it.
        if 'address already in use' in str(error).lower():
            sys.exit(f'error: another job of this machine has the port; set PORT to another one ({error})')
        restarts = int(os.environ.get(_RESTARTS, 0))
        if not restarts:
            sys.exit(f'error: the other machines are lost ({type(error).__name__}: {error})')
        print(f'The other machines are lost ({error}); starting anew, {restarts - 1} restarts left', file=sys.stderr)
        os.environ[_RESTARTS] = str(restarts - 1)
        # A new program, so that no socket of the old rendezvous is left.
        os.execv(sys.executable, [sys.executable, '-m', 'mmfasternet.engine.elastic', *arguments])


if __name__ == '__main__':
    launch(sys.argv[1:])
