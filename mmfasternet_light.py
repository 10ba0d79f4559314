"""Parts of mmfasternet without PyTorch: what exported files are run with imports neither it nor OpenMMLab.

It lies beside the package and not in it: what is in a package imports the package, whose __init__ registers the
backbone and so loads PyTorch.
"""

import importlib.util
import sys

__all__ = ['leave_out_torch']


def leave_out_torch() -> None:
    """Let parts of the package be imported without its __init__; where that is loaded already, it stays.

    Example:
        >>> leave_out_torch()
        >>> import mmfasternet.predictions.onnx_run
    """
    if 'mmfasternet' not in sys.modules and (spec := importlib.util.find_spec('mmfasternet')):
        sys.modules['mmfasternet'] = importlib.util.module_from_spec(spec)
