# Where classifiers in mmpretrain differ from detectors: scope, head, visualization.
_base_ = './runtime.py'
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmfasternet.models.classifier_head'])
default_scope = 'mmpretrain'
default_hooks = dict(visualization=dict(_delete_=True, type='VisualizationHook'))
visualizer = dict(type='UniversalVisualizer')
