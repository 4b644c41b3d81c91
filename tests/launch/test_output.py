import os
import signal
import subprocess
import sys
import termios
from threading import Thread
from time import sleep

from rheostat.launch.output import OutputRelay

SHOW = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size(1).columns if sys.stdout.isatty() else 0)"


def passed(ours: int, code: str) -> list[bytes]:
    seen: list[bytes] = []
    relay = OutputRelay(ours, seen.append)
    command = subprocess.Popen([sys.executable, "-c", code], stdout=relay.theirs)
    relay.start()
    assert command.wait() in (0, 1, 120)
    relay.finish()
    return seen


def test_the_command_gets_a_terminal_of_the_size_of_ours() -> None:
    terminal, ours = os.openpty()
    termios.tcsetwinsize(ours, (24, 132))
    assert b"".join(passed(ours, SHOW)) == b"True 132\n"
    assert os.read(terminal, 100) == b"True 132\r\n"  # as if the command had written there itself
    os.close(ours)
    os.close(terminal)


def test_the_command_gets_a_pipe_if_ours_is_one() -> None:
    reads, ours = os.pipe()
    assert b"".join(passed(ours, SHOW)) == b"False 0\n"
    assert os.read(reads, 100) == b"False 0\n"
    os.close(ours)
    os.close(reads)


def test_the_command_gets_an_error_when_our_reader_is_gone() -> None:
    reads, ours = os.pipe()
    os.close(reads)
    code = "import sys\nwhile True: print('x' * 100, flush=True)"
    assert passed(ours, code) == []  # the command has ended, by a broken pipe
    os.close(ours)


def test_nothing_is_lost_to_a_slow_reader_and_remaining_processes_are_not_waited_for() -> None:
    reads, ours = os.pipe()
    relay = OutputRelay(ours, lambda _: None)
    # The first 64 KiB fill our pipe, so that the rest waits in the command's.
    command = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; head -c 120000 /dev/zero"], stdout=relay.theirs, stdin=subprocess.DEVNULL
    )
    relay.start()
    command.wait()
    received = bytearray()

    def read_slowly() -> None:
        sleep(0.2)
        while chunk := os.read(reads, 1000):
            received.extend(chunk)

    reader = Thread(target=read_slowly)
    reader.start()
    relay.finish()
    os.close(ours)
    reader.join()
    os.close(reads)
    number, _, rest = bytes(received).partition(b"\n")
    os.kill(int(number), signal.SIGKILL)
    assert len(rest) == 120000
