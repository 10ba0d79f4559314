# Where classifiers in mmpretrain differ from detectors: scope, head, visualization, fixed sizes.
_base_ = './runtime.py'
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmfasternet.models.classifier_head'])
default_scope = 'mmpretrain'
# Images have one size, or two in turn.
env_cfg = dict(cudnn_benchmark=True)
channels_last = True  # of StrictRunner
default_hooks = dict(visualization=dict(_delete_=True, type='VisualizationHook'))
visualizer = dict(type='UniversalVisualizer')
