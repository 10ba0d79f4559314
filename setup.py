import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class Build(build):
    """Builds outside the checkout: MIM searches the whole of it by file name, and must not find a config twice."""

    def initialize_options(self):
        super().initialize_options()
        self.scratch = tempfile.TemporaryDirectory(prefix='mmfasternet-')
        self.build_base = self.scratch.name


class BuildPy(build_py):
    """Adds what MIM looks up in an installed package: its configs, tools and model index, in mmfasternet/.mim."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib, 'mmfasternet', '.mim')
        for folder in ('configs', 'tools'):
            shutil.copytree(ROOT / folder, mim / folder, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy(ROOT / 'model-index.yml', mim)


def read_version():
    scope = {}
    exec((ROOT / 'mmfasternet' / 'version.py').read_text(), scope)
    return scope['__version__']


def read_requirements(name):
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name='mmfasternet',
    version=read_version(),
    description='FasterNet and its partial convolution (PConv) as a backbone for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmfasternet*']),
    py_modules=['mmfasternet_cli', 'mmfasternet_light'],
    entry_points={'console_scripts': ['mmfasternet = mmfasternet_cli:main']},
    package_data={
        'mmfasternet.benchmark.comparison': ['page.html', 'chooser.html', 'chooser.js'],
        'mmfasternet.benchmark.published': ['*.csv'],
        'mmfasternet.reports': ['page.html'],
    },
    python_requires='>=3.10',
    # What both sets of OpenMMLab packages share; a set itself is an extra, since either would do.
    install_requires=['jinja2', 'matplotlib', 'numpy', 'pycocotools', 'rich', 'safetensors', 'torch'],
    extras_require={
        name: read_requirements(name)
        for name in ('onedl', 'openmmlab', 'tests', 'compare', 'export', 'ncnn', 'executorch')
    },
    cmdclass={'build': Build, 'build_py': BuildPy},
)
