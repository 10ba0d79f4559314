# mmseg's default_runtime.py, with the hooks of its schedules, which count iterations instead of epochs.
_base_ = './runtime.py'
default_scope = 'mmseg'
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=8000),
    visualization=dict(type='SegVisualizationHook'),
)
# Crops have one size.
env_cfg = dict(cudnn_benchmark=True)
channels_last = True  # of StrictRunner
visualizer = dict(type='SegLocalVisualizer')
log_processor = dict(by_epoch=False)
