"""Start the live page of a trained run."""

from __future__ import annotations

import importlib.util
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldmodel.errors import WorldModelError

if TYPE_CHECKING:
    import uvicorn

    from worldmodel.viewing.find import Trained

NEEDED = ("starlette", "uvicorn", "websockets")
MESSAGE_BYTES = 4096  # of a command, beside the pixels of a drawn goal


@dataclass(frozen=True)
class ServeConfig:
    """Where to listen.

    Attributes:
        host: address to listen on. Loopback is for this machine alone; any other address is open to whoever can
            reach it, and then a token is asked for.
        port: 0 takes a free one.
        seed: of new episodes and of wandering.
    """

    host: str = "127.0.0.1"
    port: int = 8420
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise WorldModelError(f"port is {self.port}; expected 0 to 65535.")

    @property
    def local(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")


class LiveServer:
    """The page and its session.

    Attributes:
        url: where to look, with the token where there is one.

    Args:
        trained: the run to steer.

    Raises:
        WorldModelError: a library is missing, or the address cannot be listened on.
    """

    def __init__(self, config: ServeConfig, *, trained: Trained) -> None:
        check_installed()
        import uvicorn

        from worldmodel.viewing.live.hub import Hub, ViewerConfig
        from worldmodel.viewing.live.server import Live
        from worldmodel.viewing.live.session import Session
        from worldmodel.viewing.live.silence import ImpatientProtocol

        self.token = "" if config.local else secrets.token_urlsafe(16)
        self.hub = Hub(ViewerConfig())
        self.session = Session(trained, publish=self.hub.publish, seed=config.seed)
        self._socket = _listen(config)
        address = self._socket.getsockname()
        # An address that means all of this machine's is none that a browser could be sent to.
        host = socket.gethostname() if address[0] in ("0.0.0.0", "::") else address[0]
        host = f"[{host}]" if ":" in host else host
        self.url = f"http://{host}:{address[1]}/" + (f"#token={self.token}" if self.token else "")
        interface = trained.model.interface
        options = uvicorn.Config(
            Live(self.session, self.hub, token=self.token, local=config.local).app(),
            log_level="warning",
            http=ImpatientProtocol,
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES + 4 * interface.height * interface.width,
            ws_ping_interval=10,
            ws_ping_timeout=20,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server: uvicorn.Server = uvicorn.Server(options)

    def run(self) -> None:
        """Serve until Ctrl-C, `stop`, or the session's failure, which is raised."""
        watchdog = threading.Thread(target=self._end_with_session, daemon=True)
        watchdog.start()
        try:
            self._server.run([self._socket])
        except KeyboardInterrupt:  # how a session is ended; nothing is lost by it
            pass
        finally:
            self._socket.close()
        if self.session.failure is not None:
            raise self.session.failure

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True

    def wait_until_started(self, seconds: float) -> bool:
        """Wait until pages are served; return False when that takes longer."""
        pause = threading.Event()
        for _ in range(int(seconds / 0.05)):
            if self._server.started:
                return True
            pause.wait(0.05)
        return False

    def _end_with_session(self) -> None:
        self.session.wait()
        self.stop()


def check_installed() -> None:
    """Refuse to go on without the libraries of the extra `live`.

    Raises:
        WorldModelError: names those that are missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise WorldModelError(
            f"The live page needs {', '.join(missing)}, which is not installed: pip install 'worldmodel[live]'."
        )


def _listen(config: ServeConfig) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen()  # from now on a browser may come: it waits until it is served
    except OSError as error:
        raise WorldModelError(
            f"'{config.host}', port {config.port}, cannot be listened on: {error.strerror}. Choose another with --port "
            "(0 takes a free one) or --host."
        ) from error
    return opened
