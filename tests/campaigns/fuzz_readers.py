"""Feed the readers with what a coverage-guided fuzzer makes up: `python tests/campaigns/fuzz_readers.py SECONDS`.

atheris, which is no dependency of the tests, comes from an environment of its own:

    python -m venv /tmp/atheris-venv
    /tmp/atheris-venv/bin/pip install atheris numpy pluggy scipy click rich
    PYTHONPATH=. /tmp/atheris-venv/bin/python tests/campaigns/fuzz_readers.py 600

The first byte of an input chooses what reads the rest. Anything but an error of phasecore's ends the run, and the input
is kept beside the corpus.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["phasecore"]):
    import hostile

NAMES = sorted(hostile.READERS)
FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "run"


def once(content):
    if content:
        hostile.read(NAMES[content[0] % len(NAMES)], content[1:], FOLDER)


def main():
    seconds = sys.argv[1] if len(sys.argv) > 1 else "600"
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    for place, name in enumerate(NAMES):
        (corpus / f"sound-{place}").write_bytes(bytes([place]) + hostile.READERS[name][1])
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=60", "-rss_limit_mb=2048", *sys.argv[2:]]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}/", str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
