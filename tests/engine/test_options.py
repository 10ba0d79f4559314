"""Options and arguments that set nothing, or that don't fit, are refused with the nearest name."""

import argparse

import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import HOOKS

from mmfasternet.engine.config import load_config
from mmfasternet.engine.options import add_cfg_options, build_hook, check_arguments, check_options, check_values
from mmfasternet.errors import UserError

CONFIG = 'mask_rcnn_fasternet_t0_shapes'


@pytest.fixture(scope='module')
def config() -> dict:
    return load_config(CONFIG).to_dict()


def parse(*words: str) -> dict:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_cfg_options(parser)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


def test_options_become_values():
    words = ('a.b=3', 'c=1e-4', 'd=[1,(2,3)]', 'e=x,y', 'f=None', 'g=true', 'h=/my data/coco', 'i=a=b', "j='t'")
    expected = {'a.b': 3, 'c': 1e-4, 'd': [1, (2, 3)], 'e': ['x', 'y'], 'f': None, 'g': True}
    assert parse(*words) == {**expected, 'h': '/my data/coco', 'i': 'a=b', 'j': 't'}


@pytest.mark.parametrize('word', ['data_root', '=3', 'a..b=3', '.a=3', '', 'a=[1,2'])
def test_what_is_not_key_value_is_a_message_of_argparse(word):
    with pytest.raises(argparse.ArgumentError, match='argument --cfg-options: .*(KEY=VALUE|brackets)'):
        parse(word)


@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ('load_form=x.pth', 'the config has no load_form; nearest: load_from'),
        ('data_rot=/nowhere', 'the config has no data_rot; nearest: data_root'),
        ('default_hooks.checkpoint.max_keep_ckpt=1', 'has no max_keep_ckpt; nearest: max_keep_ckpts'),
        ('default_hooks.checkpoint.intervall=5', 'has no intervall; nearest: interval'),
        ('default_hooks.chekpoint.interval=5', 'default_hooks has no chekpoint; nearest: checkpoint'),
        ('default_hooks.logger.intervall=5', 'default_hooks.logger has no intervall; nearest: interval'),
        ('optim_wrapper.optimizer.learning_rate=1', 'optim_wrapper.optimizer has no learning_rate; it has: .*lr, '),
        ('optim_wrapper.clip_gradd.max_norm=1', 'optim_wrapper has no clip_gradd; nearest: clip_grad'),
        ('model.backbone.frozen_stage=1', 'model.backbone has no frozen_stage; nearest: frozen_stages'),
        ('model.roi_head.bbox_head.num_clases=3', 'has no num_clases; nearest: num_classes'),
        ('model.train_cfg.rcnn.sampler.nums=3', 'has no nums; nearest: num'),
        ('train_dataloader.bach_size=3', 'train_dataloader has no bach_size; nearest: batch_size'),
        ('train_dataloader.sampler.shufle=false', 'has no shufle; nearest: shuffle'),
        ('train_dataloader.dataset.pipeline.0.backend=cv2', 'has no backend; nearest: backend_args'),
        ('train_cfg.max_epoch=3', 'train_cfg has no max_epoch; nearest: max_epochs'),
        ('param_scheduler.0.beginn=3', 'has no beginn; nearest: begin'),
        ('randomness.sed=3', 'randomness has no sed; nearest: seed'),
    ],
)
def test_a_typo_is_refused_with_the_nearest_key(config, option, nearest):
    with pytest.raises(UserError, match=f'^--cfg-options {option.partition("=")[0]}: .*{nearest}'):
        check_options(config, parse(option))


@pytest.mark.parametrize(
    'options',
    [
        ['load_from=x.pth', 'channels_last=true', 'find_unused_parameters=true', 'log_level=DEBUG'],
        ['model.backbone.frozen_stages=1', 'model.backbone.norm_eval=true', 'model.roi_head.mask_head=None'],
        ['model.backbone.type=ResNet', 'model.backbone.depth=18'],
        [
            'model.backbone.arch._delete_=true',
            'model.backbone.arch.embed_dims=40',
            'model.backbone.arch.depths=1,1,2,1',
        ],
        ['model.roi_head.bbox_head.reg_decoded_bbox=true', 'model.roi_head.bbox_head.norm_cfg.requires_grad=true'],
        ['optim_wrapper.clip_grad.max_norm=1', 'optim_wrapper.optimizer.eps=1e-6', 'optim_wrapper.constructor=x'],
        ['default_hooks.checkpoint.save_best=auto', 'default_hooks.checkpoint.priority=LOW'],
        ['train_dataloader.prefetch_factor=2', 'train_dataloader.num_batch_per_epoch=3', 'train_cfg.val_begin=2'],
        ['env_cfg.dist_cfg.timeout=60', 'randomness.seed=1', 'test_evaluator.metric=bbox', 'visualizer.save_dir=x'],
        ['param_scheduler.0.end=30', 'custom_hooks=[]', 'data_root=/elsewhere'],
    ],
    ids=lambda options: options[0],
)
def test_what_is_read_may_be_set(config, options):
    check_options(config, parse(*options))


def test_an_argument_of_a_base_class_may_be_set(config):
    """Shared2FCBBoxHead hands its arguments to ConvFCBBoxHead, and that to BBoxHead; EMAHook hands them elsewhere."""
    check_options(config, {'model.roi_head.bbox_head.with_avg_pool': True})
    check_arguments(EMAHook, ['momentum'], 'custom_hooks.0')


@pytest.mark.parametrize(
    ('option', 'complaint'),
    [
        ('optim_wrapper.optimizer.lr=high', "'high' cannot replace 0.001; write a number"),
        ('model.roi_head=none', "'none' cannot replace {'type': 'StandardRoIHead', .*; set its keys"),
        ('model.neck.in_channels=40', r'40 cannot replace \[40, 80, 160, 320\]; write a list as KEY=\[a,b\]'),
        ('train_dataloader.sampler.shuffle=no', "'no' cannot replace True; write true or false"),
        ('default_hooks.checkpoint.interval=often', "'often' cannot replace"),
        ('param_scheduler.begin=3', 'param_scheduler is a list of 2; name an item as in param_scheduler.0'),
        ('param_scheduler.7.begin=3', 'param_scheduler is a list of 2'),
        ('model.backbone.arch.depths=3', "model.backbone.arch is 't0', in which nothing can be set"),
    ],
)
def test_a_value_of_another_kind_is_refused(config, option, complaint):
    with pytest.raises(UserError, match=complaint):
        check_options(config, parse(option))


def test_two_options_that_contradict_each_other(config):
    with pytest.raises(UserError, match='--cfg-options model and model.backbone.arch contradict each other'):
        check_options(config, parse('model.backbone.arch=t1', 'model=x'))


def test_a_variable_of_the_file_is_refused_where_nothing_reads_it(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        'max_epochs = 300\npipeline = [dict(type="LoadImageFromFile")]\nmodel = dict(type="MaskRCNN")\n'
        'train_cfg = dict(max_epochs=max_epochs)\ntrain_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
    )
    with pytest.raises(UserError, match='max_epochs is a variable of .* set it where it is used: train_cfg.max_epochs'):
        load_config(path, dict(max_epochs=3))
    with pytest.raises(UserError, match='pipeline is a variable .*: train_dataloader.dataset.pipeline'):
        load_config(path, {'pipeline.0.to_float32': True})
    assert load_config(path, {'train_cfg.max_epochs': 3}).train_cfg.max_epochs == 3


def test_a_data_root_that_moves_nothing_is_refused(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('model = dict(type="MaskRCNN")\n')
    with pytest.raises(UserError, match='the config has no data_root'):
        load_config(path, dict(data_root='/elsewhere'))


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (dict(resume='x.pth'), "resume must be true, false or 'auto', but got 'x.pth'; .* use --resume x.pth"),
        (dict(model='x'), "model must be a dict, but got 'x'"),
        (dict(custom_hooks='x'), 'custom_hooks must be a list or None'),
        (dict(load_from=3), 'load_from must be text or None, but got 3'),
        ({'train_cfg.max_epochs': 'many'}, "'many' cannot replace"),
        ({'train_cfg.max_epochs': 2.5}, 'train_cfg.max_epochs must be a whole number of at least 0, but got 2.5'),
        ({'train_dataloader.batch_size': 0}, 'train_dataloader.batch_size must be a whole number of at least 1'),
        ({'val_dataloader.num_workers': -1}, 'val_dataloader.num_workers must be a whole number of at least 0'),
    ],
)
def test_values_of_the_runner_are_checked(options, complaint):
    with pytest.raises(UserError, match=complaint):
        load_config(CONFIG, options)


def test_values_of_the_file_are_checked_too():
    with pytest.raises(UserError, match='train_dataloader.batch_size must be a whole number'):
        check_values(Config(dict(train_dataloader=dict(batch_size=True))))


@pytest.mark.parametrize(
    ('hook', 'complaint'),
    [
        (dict(type='CheckpointHook', max_keep_ckpt=1), 'CheckpointHook has no max_keep_ckpt; nearest: max_keep_ckpts'),
        (dict(type='LoggerHook', intervall=1), 'LoggerHook has no intervall; nearest: interval'),
        (dict(type='LoggerHook', interval=-1), 'LoggerHook cannot be built: interval must be greater than 0'),
        (dict(type='LogerHook'), "there is no hook 'LogerHook'"),
        (dict(interval=1), 'there is no hook None'),
    ],
)
def test_a_hooks_wrong_argument_is_a_message(hook, complaint):
    with pytest.raises(UserError, match=f'^custom_hooks.0: {complaint}'):
        build_hook(hook, 'custom_hooks.0')


def test_a_hook_is_built():
    hook = build_hook(dict(type=CheckpointHook, interval=7), 'default_hooks.checkpoint')
    assert isinstance(hook, CheckpointHook) and hook.interval == 7


def test_a_hook_of_ones_own_is_checked_too():
    @HOOKS.register_module(name='OwnHookOfATest', force=True)
    class OwnHook(Hook):
        def __init__(self, factor: float) -> None:
            self.factor = factor

    with pytest.raises(UserError, match='OwnHook has no factr; nearest: factor'):
        build_hook(dict(type='OwnHookOfATest', factr=1), 'custom_hooks.0')
    with pytest.raises(UserError, match="OwnHook cannot be built: .*missing 1 required .*'factor'"):
        build_hook(dict(type='OwnHookOfATest'), 'custom_hooks.0')
