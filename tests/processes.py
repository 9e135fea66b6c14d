"""Processes that tests start: quiet, on one core, and ended when they take far longer than they ever should."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}
"""Variables of processes that run beside others; XLA compiles quickly, what it compiles is slow."""

SECONDS = 900
"""For a few lines of Python: what takes ten seconds alone takes two minutes where sixteen others want two cores."""

SUITE_SECONDS = 4800
"""For a whole suite, beside others."""


def python(*arguments, timeout=SECONDS, **options):
    """Run Python with these arguments, and return what `subprocess.run` does, with its output as text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, **options)


class Started:
    """A process that runs beside this one and writes to a file; a context, at whose end it is ended."""

    def __init__(self, command, output, **variables):
        self._output = output
        with output.open("w") as stream:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | QUIET | variables, stdout=stream, stderr=subprocess.STDOUT
            )

    def finish(self, timeout=SUITE_SECONDS):
        """Wait for it, and return its exit status and what it wrote.

        Raises:
            AssertionError: if it does not finish in time.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not finished after {timeout} s:\n{self._output.read_text()[-8000:]}") from None
        return status, self._output.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(SECONDS)
