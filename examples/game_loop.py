"""Drive the core from a loop that polls once a frame, as in a game or a simulator.

Use this when your program draws sixty frames a second: nothing blocks and nothing calls back.
`frame` costs some microseconds when there is nothing to do, and a cancel is sent at once. The steps
of a frame are in plain_socket.py.
"""

import time

from embedded import play
from plain_socket import PlainSocket


class Game(PlainSocket):
    """Drives one connection, a frame at a time."""

    def run(self) -> None:
        self.dial()  # for example during the loading screen
        while not self.over:
            self.frame()
            time.sleep(1 / 60)  # here the game updates and draws
        self.leave()

    def frame(self) -> None:
        """Do everything that is due, without waiting."""
        self.do_calls()
        self.flush()
        self.read(at_most=500)  # rule 4: received messages come before the deadline
        if self.overdue:
            self.due()


make_driver = Game

if __name__ == "__main__":
    play(Game)
