"""Connections whose requests have to come in time.

uvicorn waits without end for a request that was begun: a connection that sends a byte a second, or nothing, stays open,
and a thousand of them are all that the service takes. The guard answers a slow body with 408; here the connection goes,
also where its request never had a whole head, and where it was answered before its body had come.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds more than a request has, in which the guard says that it is late.
LATER = 2.0


def timed(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which closes a connection whose request has not come whole after so many seconds, counted
    from the beginning of the connection or from the request's first byte."""

    class Timed(H11Protocol):
        _ends: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
                self._rest()  # the first byte of a request
            super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
                self._watch()
            else:
                self._rest()

        def _watch(self) -> None:
            if self._ends is None:
                self._ends = self.loop.call_later(seconds + LATER, self.transport.abort)

        def _rest(self) -> None:
            if self._ends is not None:
                self._ends.cancel()
                self._ends = None

    return Timed
