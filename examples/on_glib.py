"""Drive the core on GLib's main loop, as in a GTK program.

Use this when your program runs a `GLib.MainLoop`. It needs PyGObject: Debian has it as python3-gi,
for the system's Python. The steps that the loop calls are in plain_socket.py.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from math import ceil

from gi.repository import GLib

from bitget_proto import Connection
from driver import Call, OnEvent, now
from embedded import play
from plain_socket import PlainSocket


class OnGLib(PlainSocket):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, url, on_event)
        self.loop, self.timer, self.writing = GLib.MainLoop(), 0, 0

    def call(self, fn: Call) -> None:  # rule 10: from another thread
        super().call(fn)
        GLib.idle_add(self.turn, priority=GLib.PRIORITY_DEFAULT)

    def run(self) -> None:
        self.dial()
        if not self.over:
            readable = GLib.IO_IN | GLib.IO_HUP | GLib.IO_ERR
            reading = GLib.io_add_watch(self.socket, GLib.PRIORITY_DEFAULT, readable, self.readable)
            self.turn()
            if not self.over:
                self.loop.run()
            for source in filter(None, (reading, self.writing)):
                GLib.source_remove(source)
        self.arm(None)
        self.leave()

    def readable(self, *_: object) -> bool:
        self.turn()
        return True  # keeps this watch

    def writable(self, *_: object) -> bool:
        self.writing = 0
        self.turn()
        return False

    def turn(self) -> None:
        """Do all that can be done without waiting."""
        if not self.over:  # else a call that came too late
            self.do_calls()
            self.flush()
            self.read()
            self.prepare()

    def prepare(self) -> None:
        """Have the loop call again for the remaining input and output."""
        if self.over:
            self.loop.quit()
        elif self.unread:
            GLib.idle_add(self.turn, priority=GLib.PRIORITY_DEFAULT)
        if self.out and not self.writing:
            self.writing = GLib.io_add_watch(
                self.socket, GLib.PRIORITY_DEFAULT, GLib.IO_OUT, self.writable
            )

    def arm(self, until: float | None) -> None:
        if self.timer:
            GLib.source_remove(self.timer)
        self.timer = 0
        if until is not None:
            delay = max(0, ceil(1000 * (until - now())))
            # Rule 4: of all that is ready, the sources with a lower priority come last.
            self.timer = GLib.timeout_add(delay, self.expired, priority=GLib.PRIORITY_LOW)

    def expired(self) -> bool:
        self.timer = 0
        self.due()
        self.prepare()
        return False


make_driver = OnGLib

if __name__ == "__main__":
    play(OnGLib)
