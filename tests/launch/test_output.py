import os
import signal
import subprocess
import sys
import termios
from threading import Thread
from time import sleep

from rheostat.launch.output import Passage

SHOW = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size(1).columns if sys.stdout.isatty() else 0)"


def passed(ours: int, code: str) -> list[bytes]:
    seen: list[bytes] = []
    passage = Passage(ours, seen.append)
    command = subprocess.Popen([sys.executable, "-c", code], stdout=passage.theirs)
    passage.start()
    assert command.wait() in (0, 1, 120)
    passage.finish()
    return seen


def test_where_ours_is_a_terminal_the_command_sees_one_of_that_size() -> None:
    terminal, ours = os.openpty()
    termios.tcsetwinsize(ours, (24, 132))
    assert b"".join(passed(ours, SHOW)) == b"True 132\n"
    assert os.read(terminal, 100) == b"True 132\r\n"  # as if the command had written there itself
    os.close(ours)
    os.close(terminal)


def test_where_ours_is_a_pipe_the_command_sees_one() -> None:
    reads, ours = os.pipe()
    assert b"".join(passed(ours, SHOW)) == b"False 0\n"
    assert os.read(reads, 100) == b"False 0\n"
    os.close(ours)
    os.close(reads)


def test_a_reader_that_goes_away_is_noticed_by_the_command() -> None:
    reads, ours = os.pipe()
    os.close(reads)
    code = "import sys\nwhile True: print('x' * 100, flush=True)"
    assert passed(ours, code) == []  # the command has ended, by a broken pipe
    os.close(ours)


def test_the_last_of_it_tells_of_memory() -> None:
    reads, ours = os.pipe()
    passage = Passage(ours, lambda _: None)
    os.write(passage.theirs, b"RuntimeError: CUDA_ERROR_OUT_OF_MEMORY\n")
    passage.start()
    passage.finish()
    assert passage.tells_of_memory()
    os.close(ours)
    os.close(reads)


def test_what_was_left_behind_is_not_waited_for_and_nothing_is_lost_to_a_slow_reader() -> None:
    reads, ours = os.pipe()
    passage = Passage(ours, lambda _: None)
    # The first 64 KiB fill our pipe, so that the rest waits in the command's.
    command = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; head -c 120000 /dev/zero"], stdout=passage.theirs, stdin=subprocess.DEVNULL
    )
    passage.start()
    command.wait()
    received = bytearray()

    def read_slowly() -> None:
        sleep(0.2)
        while chunk := os.read(reads, 1000):
            received.extend(chunk)

    reader = Thread(target=read_slowly)
    reader.start()
    passage.finish()
    os.close(ours)
    reader.join()
    os.close(reads)
    number, _, rest = bytes(received).partition(b"\n")
    os.kill(int(number), signal.SIGKILL)
    assert len(rest) == 120000
