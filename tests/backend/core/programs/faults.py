"""Programs that are no servers at all: one fault each, chosen by name."""

import os
import signal
import sys
import time


def exits():
    print("first words", file=sys.stderr)
    for number in range(20):
        print(f"line {number}", file=sys.stderr)
    print("secret=hunter2", file=sys.stderr, flush=True)
    sys.exit(3)


def closes_stdout():
    os.close(1)
    sys.stdin.read()


def closes_stdin():
    os.close(0)
    print("closed", flush=True)
    while True:
        time.sleep(60)


def mute():
    sys.stdin.read()


def unfinished():
    sys.stdout.write("no line break")
    sys.stdout.flush()


def leaves_a_deaf_child():
    reading, writing = os.pipe()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(1)
        os.close(2)
        os.write(writing, b".")
        while True:
            time.sleep(60)
    os.read(reading, 1)
    sys.exit(5)


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


globals()[sys.argv[1]]()
