"""Test a detector, segmentor or classifier; the arguments are those of mmdet's and mmseg's tools/test.py."""

import argparse
import os

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import RUNNERS

from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError, one_sentence_errors, require_ops
from mmfasternet.weights.reader import use_safe_reader


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, or its address')
    parser.add_argument('--work-dir', help='folder for logs and metrics; default: work_dirs/<name of the config>')
    parser.add_argument(
        '--out', help="a detector's predictions go to this pickle file, a segmentor's maps into this folder"
    )
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir',
        help="folder for drawn predictions; a detector's is made under work_dir/timestamp, a segmentor's has them in "
        'vis_data/vis_image',
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that --show shows each picture')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation (horizontal flip)')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='unpickle anything that the checkpoint asks for'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override, as key=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    return parser.parse_args()


def check_out(out: str, segments: bool) -> None:
    """Make sure that ``--out`` is what the task writes: a pickle file, or a folder."""
    pickle = out.endswith(('.pkl', '.pickle'))
    if segments and (pickle or os.path.isfile(out)):
        raise UserError(f"--out must be a folder for a segmentor's maps, but got {out}")
    if not segments and not pickle:
        raise UserError(f"--out must end in .pkl or .pickle for a detector's predictions, but got {out}")


def draw(cfg: Config, segments: bool, show: bool, wait_time: float, show_dir: str | None) -> None:
    """Draw the predictions, as the tools/test.py of mmdet or of mmseg does."""
    if 'visualization' not in cfg.get('default_hooks', {}):
        raise UserError('--show and --show-dir need default_hooks.visualization, which the config lacks')
    cfg.default_hooks.visualization.update(draw=True, show=show, wait_time=wait_time)
    if not segments:
        cfg.default_hooks.visualization.test_out_dir = show_dir
        return
    cfg.default_hooks.visualization.interval = 1  # mmseg 1.2.2 draws one batch of so many in tests too
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def use_flip_tta(cfg: Config, segments: bool) -> None:
    """Test every picture as it is and flipped, unless the config has a ``tta_model`` of its own."""
    if cfg.model.get('roi_head', {}).get('mask_head'):
        raise UserError('--tta works for detectors without masks: mmdet merges boxes alone; test this one without it')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if segments:
        model = dict(type='SegTTAModel')
        pack = dict(type='PackSegInputs')
    else:
        model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
        meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
        pack = dict(type='PackDetInputs', meta_keys=meta_keys)
    cfg.setdefault('tta_model', model)
    # The picture as it is comes first: with its annotations the merged prediction is compared.
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    cfg.setdefault('tta_pipeline', [*dataset.pipeline[:-1], dict(type='TestTimeAug', transforms=[flips, [pack]])])
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    require_ops()
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    if cfg.get('default_scope') == 'mmpretrain' and (args.out or args.show or args.show_dir or args.tta):
        raise UserError(
            '--out, --show, --show-dir and --tta are not for classifiers; to draw them set --cfg-options '
            'default_hooks.visualization.enable=True default_hooks.visualization.out_dir=FOLDER'
        )
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    use_safe_reader(trust=args.trust_checkpoint)
    segments = cfg.get('default_scope') == 'mmseg'
    if args.out:
        check_out(args.out, segments)
    if args.show or args.show_dir:
        draw(cfg, segments, args.show, args.wait_time, args.show_dir)
    if args.tta:
        use_flip_tta(cfg, segments)
    if args.out and segments:
        for metric in cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]:
            metric.output_dir = args.out
    runner = RUNNERS.build(cfg)
    if args.out and not segments:
        # Imported here, since only detectors need it.
        from mmdet.evaluation import DumpDetResults

        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    with one_sentence_errors():
        main()
