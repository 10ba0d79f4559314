"""The demo's detector as files: its checkpoint, and exported in float32 and int8."""

from pathlib import Path

from mmfasternet.deploy.export import export_onnx
from mmfasternet.engine.checkpoints import latest_checkpoint
from mmfasternet.engine.config import load_config, project_root
from mmfasternet.errors import UserError
from mmfasternet.files import file_digest
from mmfasternet.predictions.onnx_file import OnnxFile

__all__ = ['demo_files']

_DEMO = 'mask_rcnn_fasternet_t0_shapes'


def demo_files(folder: str | Path, quick: bool) -> tuple[Path, list[Path]]:
    """Export what ``make demo`` has trained in the current folder; files of the same checkpoint are kept.

    Args:
        folder: Where the files go.
        quick: Whether the int8 file is left out, and the short demo is taken where there is no complete one.

    Returns:
        The demo's config, and the files, the checkpoint first.

    Raises:
        UserError: If the demo has not been run here, or the export fails.
    """
    config, work_dir = project_root() / 'configs/demo' / f'{_DEMO}.py', Path('work_dirs', _DEMO)
    found = latest_checkpoint(work_dir)
    if found is None and quick:
        # Its own config names its own images.
        work_dir = work_dir.with_name(f'{_DEMO}_quick')
        config, found = work_dir / f'{_DEMO}.py', latest_checkpoint(work_dir)
    images = found and Path(load_config(config).data_root, 'train')
    if not (images and images.is_dir()):
        raise UserError(
            f'there is no trained demo here (work_dirs/{_DEMO} and its images): run `make demo` first, which takes '
            'minutes, or name files, and the config of their data by --data'
        )
    checkpoint = Path(found)
    files = {Path(folder, 'detector.onnx'): None}
    if not quick:
        files[Path(folder, 'detector_int8.onnx')] = images
    for path, calibration in files.items():
        if not path.is_file() or OnnxFile(path).metadata.facts.get('checkpoint_sha256') != file_digest(checkpoint):
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f'exporting {path}')
            export_onnx(config, path, checkpoint=str(checkpoint), int8=calibration)
    return config, [checkpoint, *files]
