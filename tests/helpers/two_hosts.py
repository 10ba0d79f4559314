"""Two hosts on one machine: network namespaces of Linux, with a cable between them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ADDRESSES = ('10.77.21.1', '10.77.21.2')


class TwoHosts:
    """Two network namespaces, joined by a veth pair; each sees its own loopback and the other host, nothing else.

    All of it is gone after the ``with``, processes included.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip('two network namespaces need root')
        if shutil.which('ip') is None:
            pytest.skip('two network namespaces need ip (iproute2)')
        self.names = [f'mmfasternet-{os.getpid()}-{i}' for i in (0, 1)]
        self.cables = [f'veth{os.getpid()}{i}'[-15:] for i in 'ab']

    def __enter__(self) -> 'TwoHosts':
        try:
            for name in self.names:
                _ip('netns', 'add', name)
            a, b = self.cables
            _ip('link', 'add', a, 'netns', self.names[0], 'type', 'veth', 'peer', 'name', b, 'netns', self.names[1])
            for name, cable, address in zip(self.names, self.cables, ADDRESSES, strict=True):
                _ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', cable)
                _ip('-n', name, 'link', 'set', 'lo', 'up')
                _ip('-n', name, 'link', 'set', cable, 'up')
                # The kernel gives a dead connection up after 13 seconds; by default, after 15 minutes.
                _ip('netns', 'exec', name, 'sh', '-c', 'echo 5 > /proc/sys/net/ipv4/tcp_retries2')
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f'no network namespaces here: {error.stderr.strip()}')
        return self

    def __exit__(self, *error: object) -> None:
        for host, name in enumerate(self.names):
            if Path('/run/netns', name).exists():
                self.kill(host)
                _ip('netns', 'del', name)

    def start(self, host: int, *command: object, log: Path, **environment: str) -> subprocess.Popen:
        """Start a command on a host; what it prints goes to a file."""
        with log.open('a') as file:
            return subprocess.Popen(
                ['ip', 'netns', 'exec', self.names[host], *map(str, command)],
                env={**os.environ, 'GLOO_SOCKET_IFNAME': self.cables[host], **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def cut(self) -> None:
        """Pull the cable: nothing arrives any more, and no connection is told so."""
        _ip('-n', self.names[1], 'link', 'set', self.cables[1], 'down')

    def mend(self) -> None:
        """Plug it in again."""
        _ip('-n', self.names[1], 'link', 'set', self.cables[1], 'up')

    def kill(self, host: int) -> None:
        """Switch a host off."""
        for pid in _ip('netns', 'pids', self.names[host]).split():
            os.kill(int(pid), signal.SIGKILL)


def _ip(*arguments: str) -> str:
    return subprocess.run(['ip', *arguments], check=True, capture_output=True, text=True).stdout
