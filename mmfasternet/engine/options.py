"""What ``--cfg-options`` may set: each key is checked against the config and against what is built from it."""

import argparse
import ast
import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mmengine.config import ConfigDict, DictAction
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import HOOKS, Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

from mmfasternet.errors import UserError

__all__ = ['add_cfg_options', 'build_hook', 'check_arguments', 'check_options', 'check_values']

# What mmengine's runner and this project's tools read of a config besides the runner's arguments.
_READ = (
    *('runner_type', 'model_wrapper_cfg', 'find_unused_parameters', 'sync_bn', 'compile', 'activation_checkpointing'),
    *('efficient_conv_bn_eval', 'channels_last', 'data_root', 'tta_model', 'tta_pipeline', 'shapes'),
)
# What is taken out of a dict before its class is built.
_TAKEN = (
    *('type', '_scope_', '_delete_', 'priority', 'constructor', 'paramwise_cfg', 'convert_to_iter_based'),
    *('requires_grad', 'by_epoch', 'num_batch_per_epoch'),
)
# What the runner builds from dicts that need no type.
_BUILT_BY_RUNNER: dict[str, tuple[Callable, ...]] = dict(
    train_dataloader=(DataLoader,),
    val_dataloader=(DataLoader,),
    test_dataloader=(DataLoader,),
    train_cfg=(EpochBasedTrainLoop, IterBasedTrainLoop),
    val_cfg=(ValLoop,),
    test_cfg=(TestLoop,),
    optim_wrapper=(OptimWrapper, AmpOptimWrapper),  # --amp takes the second
)
# How a value of a type is written.
_WRITTEN = {
    dict: 'set its keys, as in KEY.type=…',
    (list, tuple): 'write a list as KEY=[a,b]',
    bool: 'write true or false',
    (int, float): 'write a number',
}
# Whole numbers, with the smallest that makes sense.
_WHOLE = {
    'train_cfg.max_epochs': 0,
    'train_cfg.max_iters': 0,
    'train_cfg.val_begin': 0,
    'train_cfg.val_interval': 1,
    'auto_scale_lr.base_batch_size': 1,
    **{f'{part}_dataloader.batch_size': 1 for part in ('train', 'val', 'test')},
    **{f'{part}_dataloader.num_workers': 0 for part in ('train', 'val', 'test')},
}


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options KEY=VALUE …`` to the arguments of a tool.

    Args:
        parser: The tool's parser; what is given becomes a dict, dotted key → value.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_cfg_options(parser)
        >>> parser.parse_args(['--cfg-options', 'train_cfg.max_epochs=3', 'load_from=my run.pth']).cfg_options
        {'train_cfg.max_epochs': 3, 'load_from': 'my run.pth'}
    """
    parser.add_argument(
        '--cfg-options', nargs='+', action=_Options, metavar='KEY=VALUE', help='settings that override the config'
    )


class _Options(DictAction):
    """mmengine's action, which gives tracebacks for what isn't KEY=VALUE, and removes the spaces of a path."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        options = dict(getattr(namespace, self.dest) or {})
        for text in values:
            key, equals, value = text.partition('=')
            if not equals or not all(name.strip() for name in key.split('.')):
                raise argparse.ArgumentError(self, f'{text!r} is not KEY=VALUE, such as train_cfg.max_epochs=12')
            try:
                parsed = self._parse_iterable(value)
            except AssertionError as error:
                raise argparse.ArgumentError(self, f'the brackets of {text!r} do not match') from error
            options[key] = value.strip('\'"') if isinstance(parsed, str) else parsed
        setattr(namespace, self.dest, options)


def check_options(config: dict, options: dict[str, Any]) -> None:
    """Make sure that every option sets something that is read, and by a value of a suitable kind.

    A key that the config has is in order, unless it is a variable of the config file that nothing reads any more. A new
    key must be an argument of what is built from its dict or, in a dict that nothing is built from, be unlike the
    others.

    Args:
        config: The config as loaded, with its ``default_scope``.
        options: Dotted key → value.

    Raises:
        UserError: If an option would change nothing, or is of another kind than what it replaces; the message names
            the nearest keys.

    Example:
        >>> check_options(dict(train_cfg=dict(max_epochs=3)), {'train_cfg.max_epoch': 12})
        Traceback (most recent call last):
        mmfasternet.errors.UserError: --cfg-options train_cfg.max_epoch: train_cfg has no max_epoch; nearest: max_epochs
    """
    for key, value in options.items():
        inside = next((other for other in options if other.startswith(f'{key}.')), None)
        if inside:
            raise UserError(f'--cfg-options {key} and {inside} contradict each other; give one of them')
        _check_option(config, key, value, options)


def check_arguments(built: Callable, given: Iterable[str], where: str) -> None:
    """Make sure that a class or function takes arguments of these names.

    Args:
        built: The class or function.
        given: The names of the arguments.
        where: What the user calls the place, such as 'default_hooks.checkpoint'.

    Raises:
        UserError: If it doesn't take one; the message names the nearest.

    Example:
        >>> check_arguments(CheckpointHook, ['max_keep_ckpt'], 'custom_hooks.0')
        Traceback (most recent call last):
        mmfasternet.errors.UserError: custom_hooks.0: CheckpointHook has no max_keep_ckpt; nearest: max_keep_ckpts
    """
    names, any_other = _parameters(built)
    for name in given:
        if name not in names and name not in _TAKEN and not any_other:
            raise UserError(_no_such(f'{where}: {built.__name__}', name, names))


def build_hook(hook: dict, where: str) -> Hook:
    """Build a hook of a config, so that a wrong argument is one message before training starts.

    Args:
        hook: The hook, with its ``type``; without ``priority``, which is the runner's.
        where: What the user calls the place, such as 'default_hooks.checkpoint'.

    Returns:
        The hook.

    Raises:
        UserError: If there is no such hook, or it doesn't take these arguments.

    Example:
        >>> build_hook(dict(type='CheckpointHook', interval=5), 'default_hooks.checkpoint').interval
        5
        >>> build_hook(dict(type='CheckpointHook', intervall=5), 'default_hooks.checkpoint')
        Traceback (most recent call last):
        mmfasternet.errors.UserError: default_hooks.checkpoint: CheckpointHook has no intervall; nearest: interval
    """
    if not isinstance(hook.get('type'), str):
        found = hook.get('type')
    else:
        with HOOKS.switch_scope_and_registry(hook.get('_scope_')) as registry:
            found = registry.get(hook['type'])
    if not callable(found):
        raise UserError(f'{where}: there is no hook {hook.get("type")!r}; set its type to a registered hook')
    check_arguments(found, hook, where)
    try:
        return HOOKS.build(hook)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'{where}: {found.__name__} cannot be built: {error}') from error


def check_values(config: dict) -> None:
    """Make sure that the runner's own settings are of the types that it takes.

    Args:
        config: The config, options included.

    Raises:
        UserError: If one is not.

    Example:
        >>> check_values(dict(train_dataloader=dict(batch_size='four')))
        Traceback (most recent call last):
        mmfasternet.errors.UserError: train_dataloader.batch_size must be a whole number of at least 1, but got 'four'
    """
    if config.get('resume', False) not in (True, False, 'auto'):
        raise UserError(
            f"resume must be true, false or 'auto', but got {config['resume']!r}; to resume from a checkpoint, use "
            f'--resume {config["resume"]}'
        )
    for name, hint in get_type_hints(Runner.__init__).items():
        if name in config and name != 'resume' and not _fits(config[name], hint):
            raise UserError(f'{name} must be {_kinds_of(hint)}, but got {config[name]!r}')
    for key, smallest in _WHOLE.items():
        part, name = key.split('.')
        value = (config.get(part) or {}).get(name, smallest)
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or value < smallest:
            raise UserError(f'{key} must be a whole number of at least {smallest}, but got {value!r}')


def _check_option(config: dict, key: str, value: Any, options: dict[str, Any]) -> None:
    """Follow a key through the config, to the value that it replaces or to the dict that it is new in."""
    label = f'--cfg-options {key}'
    names = key.split('.')
    if names[0] in config and names[0] not in _settings():
        _refuse_variable(label, config, names[0])
    part, path = config, ''
    for name in names:
        owner, where = part, path
        path = f'{path}.{name}' if path else name
        if isinstance(part, list):
            if not name.isdigit() or int(name) >= len(part):
                raise UserError(f'{label}: {where} is a list of {len(part)}; name an item as in {where}.0')
            part = part[int(name)]
        elif options.get(f'{where}._delete_'):
            # A dict takes the place of whatever was there.
            return
        elif not isinstance(part, dict):
            raise UserError(f'{label}: {where} is {part!r}, in which nothing can be set; set {where} itself')
        elif name not in part:
            _check_new(label, where, name, part, _built_from(where, part, config.get('default_scope'), options))
            return
        else:
            part = part[name]
    # The runner's own arguments are checked when all options are in their place.
    if where and isinstance(value, _wrong_for(part)):
        built = _built_from(where, owner, config.get('default_scope'), options)
        if not any(_fits(value, hint) for hint in _hints(built, name)):
            how = next(how for kind, how in _WRITTEN.items() if isinstance(part, kind))
            raise UserError(f'{label}: {value!r} cannot replace {_shortened(part)}; {how}')


def _settings() -> set[str]:
    """The top-level keys that mmengine's runner and the tools read."""
    return {*inspect.signature(Runner).parameters, *_READ} - {'cfg'}


def _refuse_variable(label: str, config: dict, variable: str) -> None:
    """Refuse to set a variable of the config file, which has been used when the file was loaded."""
    settings = {name: config[name] for name in config if name in _settings()}
    places = [place for place in _places(settings, variable, config[variable])]
    hint = f'; set it where it is used: {", ".join(places[:3])}' if places else ''
    raise UserError(f'{label}: {variable} is a variable of the config file, and nothing reads it afterwards{hint}')


def _places(part: Any, variable: str, value: Any, path: str = '') -> Iterator[str]:
    """Where in a part of a config something has the name of a variable, or is its list or dict."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, item in items:
        here = f'{path}.{name}' if path else str(name)
        if name == variable or (isinstance(item, (dict, list)) and item and item == value):
            yield here
        else:
            yield from _places(item, variable, value, here)


def _check_new(label: str, path: str, name: str, part: dict, built: Sequence[Callable]) -> None:
    """Make sure that a dict may get a new key."""
    if path:
        known, any_other = {*part}, not built
    else:
        # A data_root that the config lacks moves nothing.
        known, any_other = _settings() - ({'data_root'} - {*part}), False
    for found in built:
        names, others_too = _parameters(found)
        known |= names
        any_other |= others_too
    if name in known or name in _TAKEN:
        return
    if not any_other or difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        raise UserError(_no_such(f'{label}: {path or "the config"}', name, known))


def _built_from(path: str, part: Any, scope: str | None, options: dict[str, Any]) -> tuple[Callable, ...]:
    """The classes that a dict of a config may be built into; none if that is not known."""
    if not isinstance(part, dict):
        return ()
    kind = options.get(f'{path}.type', part.get('type'))
    if kind is None or kind == 'OptimWrapper':
        return _BUILT_BY_RUNNER.get(path, ())
    if not isinstance(kind, str):
        return (kind,)
    try:
        module = import_module(f'{part.get("_scope_") or scope}.registry')
    except ImportError:
        module = import_module('mmengine.registry')
    found = (registry.get(kind) for registry in vars(module).values() if isinstance(registry, Registry))
    return tuple(dict.fromkeys(item for item in found if item is not None))


def _parameters(built: Callable) -> tuple[set[str], bool]:
    """The names that a class or function takes, and whether it takes any other.

    A class that hands its ``**kwargs`` to the next class takes those of the next class too.
    """
    if not isinstance(built, type):
        return _names(built)
    names: set[str] = set()
    for owner in built.__mro__:
        if '__init__' not in vars(owner) or owner is object:
            continue
        own, any_other = _names(owner.__init__)
        names |= own - {'self'}
        if owner is CheckpointHook:
            # The rest goes to each save.
            return names | _names(Runner.save_checkpoint)[0] - {'self', 'out_dir', 'filename', 'meta'}, False
        if not any_other:
            return names, False
        if not _hands_on(owner.__init__):
            return names, True
    return names, True


def _names(function: Callable) -> tuple[set[str], bool]:
    """The named parameters of a function, and whether it takes any others."""
    parameters = inspect.signature(function).parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _hands_on(init: Callable) -> bool:
    """Whether all that an ``__init__`` does with its ``**kwargs`` is ``super().__init__(…, **kwargs)``."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(init))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    kwargs = function.args.kwarg.arg
    uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == kwargs]
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    calls = [node for node in calls if ast.unparse(node.func) == 'super().__init__']
    return len(uses) == 1 and any(word.value is uses[0] for call in calls for word in call.keywords)


def _wrong_for(old: Any) -> tuple[type, ...]:
    """The types of what can hardly replace a value."""
    if isinstance(old, dict):
        return (bool, int, float, str, list, tuple)
    if isinstance(old, (list, tuple)):
        return (bool, int, float, str)
    if isinstance(old, (bool, int, float)):
        return (str,)
    return ()


_KINDS = {dict: 'a dict', list: 'a list', bool: 'true or false', str: 'text', type(None): 'None'}


def _hints(built: Sequence[Callable], name: str | int) -> Iterator[Any]:
    """The types that classes name for an argument."""
    for found in built:
        for owner in getattr(found, '__mro__', (found,)):
            function = vars(owner).get('__init__') if isinstance(owner, type) else owner
            if function is None or name not in getattr(function, '__annotations__', {}):
                continue
            try:
                yield get_type_hints(function)[name]
            except (NameError, TypeError):
                # A name that only a type checker sees.
                yield Any


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, the types of items aside."""
    if hint is Any:
        return True
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return any(_fits(value, item) for item in get_args(hint))
    if not isinstance(origin, type):
        return False
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin)


def _kinds_of(hint: Any) -> str:
    """The kinds of a type that a user can write down."""
    kinds = [
        get_origin(item) or item for item in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))
    ]
    return ' or '.join(_KINDS[kind] for kind in kinds if kind in _KINDS)


def _shortened(value: Any) -> str:
    """A value in a message."""
    return textwrap.shorten(repr(value.to_dict() if isinstance(value, ConfigDict) else value), 80, placeholder=' …')


def _no_such(owner: str, name: str, known: Iterable[str]) -> str:
    """That something has no such name, with the nearest of those it has."""
    near = difflib.get_close_matches(name, sorted(known), n=3)
    return f'{owner} has no {name}; ' + (
        f'nearest: {", ".join(near)}' if near else f'it has: {", ".join(sorted(known))}'
    )
