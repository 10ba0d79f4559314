"""A plugin of pytest (`-p helpers.mmcv_lite_only`): as where mmcv-lite is installed, and nothing that needs more."""

import sys

for name in ('mmdet', 'mmseg', 'mmpretrain', 'mmcv._ext', 'mmcv.ops'):
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
