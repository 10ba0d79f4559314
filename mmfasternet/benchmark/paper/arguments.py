"""What the command lines of several experiments share, without what they need to run."""

from argparse import ArgumentParser

from mmfasternet.weights.reader import add_trust_checkpoint

__all__ = ['add_subject']


def add_subject(parser: ArgumentParser) -> None:
    """Add the arguments that choose a network and its weights, see ``subject.choose_subject``.

    Args:
        parser: The parser of a command.

    Example:
        >>> parser = ArgumentParser()
        >>> add_subject(parser)
        >>> parser.parse_args(['--timm', 'resnet18']).timm
        'resnet18'
    """
    parser.add_argument('--config', help='config of any detector, segmentor or classifier')
    parser.add_argument('--timm', metavar='NAME', help='name of a classifier in timm, instead of a config')
    parser.add_argument('--checkpoint', help='path or URL of its weights; default: those that timm downloads')
    add_trust_checkpoint(parser)
