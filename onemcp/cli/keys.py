"""Keys that a person presses while something is shown."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def ended_by(key: bytes) -> Iterator[None]:
    """End the block when a key is pressed, where there is a keyboard.

    The block waits in system calls, which nothing but a signal ends. So a thread waits for the key,
    and sends what Ctrl-C sends.
    """
    if not sys.stdin.isatty():
        yield
        return
    keyboard, pressed = sys.stdin.fileno(), threading.Event()

    def wait() -> None:
        with suppress(OSError):  # the terminal has closed
            while read := os.read(keyboard, 1):
                if read == key:
                    pressed.set()
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return

    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        if not pressed.is_set():
            raise
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
