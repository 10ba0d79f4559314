# The smaller models shrink images less: mmdet's rtmdet/rtmdet_s_8xb32-300e_coco.py.
_base_ = './rtmdet_300e.py'
train_pipeline, train_pipeline_stage2 = [
    [dict(step, ratio_range=(0.5, 2.0)) if step.type == 'RandomResize' else step for step in steps]
    for steps in (_base_.train_pipeline, _base_.train_pipeline_stage2)
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [_base_.custom_hooks[0], dict(_base_.custom_hooks[1], switch_pipeline=train_pipeline_stage2)]
