"""Part from those who connect and say nothing, so that no number of them keeps others out for long."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENT_SECONDS = 5.0  # that a new connection may take to ask for something, s


class ImpatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, which limits the wait for a next request, but not that for the first."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(SILENT_SECONDS, self._part_if_silent)

    def _part_if_silent(self) -> None:
        """Close the connection unless a request has come, whole, or a WebSocket has taken over."""
        if self.cycle is None and self.transport.get_protocol() is self:
            self.transport.close()
