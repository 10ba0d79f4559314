"""`python -m mmfasternet` is the command `mmfasternet`, for launchers that start modules: `torchrun -m mmfasternet`."""

from mmfasternet_cli import main

if __name__ == '__main__':
    main()
