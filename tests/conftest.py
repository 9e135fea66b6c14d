"""Property tests draw the same examples every time, and nothing depends on how busy the machine is."""

import os

from hypothesis import settings

# torch's threads wait actively: on a busy machine two are many times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")
