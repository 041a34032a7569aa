"""The sockets that `serve` and `ui` listen on."""

import socket

from ghost_pipeline.errors import SettingsError


def listen(command: str, host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        SettingsError: it is taken, or not one of this machine.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"{command}: cannot listen on {host}:{port} ({error.strerror or error}). Choose another --host or --port"
        ) from error
