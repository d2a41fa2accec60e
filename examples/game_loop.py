"""Drive the core from a loop that polls once a frame, as a game's or a simulator's does: nothing waits, nothing calls back.

Take this when your program draws sixty times a second and the cancels are to ride along: `frame` costs some microseconds when
there is nothing to do, and a cancel leaves at once. What a frame does stands in plain_socket.py.
"""

import time

from embedded import play
from plain_socket import PlainSocket


class Game(PlainSocket):
    """Drives one connection, a frame at a time."""

    def run(self) -> None:
        self.dial()  # behind the loading screen
        while not self.over:
            self.frame()
            time.sleep(1 / 60)  # here the world moves, and is drawn
        self.leave()

    def frame(self) -> None:
        """All that is to be done now."""
        self.do_calls()
        self.flush()
        self.read(at_most=500)  # rule 4: what has arrived goes first
        if self.overdue:
            self.due()


make_driver = Game

if __name__ == "__main__":
    play(Game)
