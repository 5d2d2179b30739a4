# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a VMM under a time limit and keeps what its serial console says. Used by the boot checks and by bench/run."""
import atexit
import os
import pty
import select
import signal
import subprocess
import time


class Console:
    """A VMM process with its console on a pseudo-terminal, so that the interactive path is what is tested.

    lines: [(seconds since start, text)], complete lines only, carriage returns removed.
    """

    def __init__(self, command, timeout, log=None, terminal=True):
        self.command, self.deadline = command, time.monotonic() + timeout
        self.lines, self.pending, self.status, self.timed_out = [], b"", None, False
        self.max_rss_kib = None
        self.log = open(log, "wb") if log else None
        self.start = time.monotonic()
        if terminal:
            master, slave = pty.openpty()
            # A session of its own: the terminal's signals go to the VMM only.
            self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.STDOUT,
                                            start_new_session=True, close_fds=True)
            os.close(slave)
            self.fd = self.input = master
        else:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, start_new_session=True)
            self.fd, self.input = self.process.stdout.fileno(), None

        atexit.register(self.kill)  # no VMM outlives its script

    def send(self, text):
        data = text.encode()
        while data:
            data = data[os.write(self.input, data):]

    def _read(self):
        """One round of reading. False at end of file or when time is up."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.timed_out = True
            return False
        if not select.select([self.fd], [], [], min(left, 1.0))[0]:
            # A VMM that died while something else holds the terminal open.
            return self._poll() is None
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other end of a pseudo-terminal was closed
            data = b""
        if not data:
            return False
        if self.log:
            self.log.write(data)
            self.log.flush()
        now = time.monotonic() - self.start
        *complete, self.pending = (self.pending + data).split(b"\n")
        for line in complete:
            self.lines.append((now, line.replace(b"\r", b"").decode("utf-8", "replace")))
        return True

    def _poll(self):
        if self.status is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self._ended(status, usage)
        return self.status

    def _ended(self, status, usage):
        self.status = os.waitstatus_to_exitcode(status)
        self.process.returncode = self.status
        self.max_rss_kib = usage.ru_maxrss

    def wait_for(self, text, after=0, whole=False):
        """Reads until `text` shows in a line past index `after` (or in an unfinished one, unless `whole`). Its time, or None."""
        seen = after
        while True:
            for when, line in self.lines[seen:]:
                if text in line:
                    return when
            seen = max(after, len(self.lines))
            if not whole and text.encode() in self.pending:
                return time.monotonic() - self.start
            if not self._read():
                return None

    def finish(self):
        """Reads to the end, then reaps the VMM (killing it when its time is up). Returns its exit status."""
        while self._read():
            pass
        if self.timed_out or self.status is None:
            end = time.monotonic() + (0 if self.timed_out else 5)
            while self._poll() is None and time.monotonic() < end:
                time.sleep(0.01)
        if self.status is None:
            self.kill()
        if self.pending:
            self.lines.append((time.monotonic() - self.start, self.pending.replace(b"\r", b"").decode("utf-8", "replace")))
            self.pending = b""
        os.close(self.fd) if self.input is not None else self.process.stdout.close()
        if self.log:
            self.log.close()
        return self.status

    def kill(self):
        if self.status is None:
            try:
                os.kill(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            _, status, usage = os.wait4(self.process.pid, 0)
            self._ended(status, usage)

    def text(self):
        return [line for _, line in self.lines]

    def seconds(self):
        return time.monotonic() - self.start
