"""The manifest for Kubernetes is one that the training operator takes, and its command is one of ours."""

import runpy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from helpers.project import ROOT

from mmfasternet.engine.config import load_config

TYPES = dict(object=dict, array=list, string=str, integer=int, boolean=bool)


def read(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))


def violations(value: Any, schema: dict, path: str = 'job') -> Iterator[str]:
    """Where a value differs from a structural schema of Kubernetes, which knows every field."""
    kind = schema.get('type')
    if kind and not (isinstance(value, TYPES[kind]) and (kind == 'boolean' or not isinstance(value, bool))):
        yield f'{path} is no {kind}'
    elif schema.get('x-kubernetes-int-or-string') and not isinstance(value, (int, str)):
        yield f'{path} is neither a number nor text'
    elif kind == 'array':
        for i, item in enumerate(value):
            yield from violations(item, schema['items'], f'{path}.{i}')
    elif kind == 'object':
        yield from (f'{path} lacks {name}' for name in schema.get('required', ()) if name not in value)
        for name, item in value.items():
            fields = schema.get('properties', {}).get(name, schema.get('additionalProperties'))
            yield from [f'{path} has no {name}'] if fields is None else violations(item, fields, f'{path}.{name}')


@pytest.fixture
def job() -> dict:
    return read('docs/examples/pytorchjob.yaml')


@pytest.fixture
def worker(job) -> dict:
    return job['spec']['pytorchReplicaSpecs']['Worker']


@pytest.fixture
def container(worker) -> dict:
    (container,) = worker['template']['spec']['containers']
    return container


def test_the_manifest_is_a_pytorchjob(job):
    schema = read('tests/data/pytorchjob_v1.yaml')
    assert list(violations(job, schema)) == []
    assert (job['apiVersion'], job['kind']) == ('kubeflow.org/v1', 'PyTorchJob')


@pytest.mark.parametrize(
    ('change', 'violation'),
    [
        (lambda spec: spec['elasticPolicy'].update(maxRestart=3), 'job.spec.elasticPolicy has no maxRestart'),
        (
            lambda spec: spec['elasticPolicy'].update(maxRestarts='3'),
            'job.spec.elasticPolicy.maxRestarts is no integer',
        ),
        (lambda spec: spec.pop('pytorchReplicaSpecs'), 'job.spec lacks pytorchReplicaSpecs'),
        (lambda spec: spec.update(nprocPerNode=8), 'job.spec.nprocPerNode is no string'),
    ],
)
def test_the_schema_sees_what_is_wrong(job, change, violation):
    change(job['spec'])
    assert list(violations(job, read('tests/data/pytorchjob_v1.yaml'))) == [violation]


def test_what_the_operator_asks_beyond_the_schema(job, worker, container):
    assert container['name'] == 'pytorch' and worker['restartPolicy'] == 'ExitCode'
    policy = job['spec']['elasticPolicy']
    assert policy['minReplicas'] <= worker['replicas'] <= policy['maxReplicas']
    mounted = {mount['name'] for mount in container['volumeMounts']}
    assert mounted == {volume['name'] for volume in worker['template']['spec']['volumes']}


def test_the_command_is_one_that_our_tool_understands(container, monkeypatch):
    python, option, module, processes, tool, *arguments = container['command']
    assert (python, option, module) == ('python', '-m', 'mmfasternet.engine.elastic')
    assert processes == f'--nproc_per_node={container["resources"]["limits"]["nvidia.com/gpu"]}'
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    args = runpy.run_path(str(ROOT / tool), run_name='tool')['parse_args']()
    assert args.launcher == 'pytorch' and args.resume == 'auto'
    monkeypatch.chdir(ROOT)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    assert cfg.env_cfg.dist_cfg.timeout == 600
    for path in (args.work_dir, cfg.data_root):
        assert any(path.startswith(f'{mount["mountPath"]}/') for mount in container['volumeMounts'])
