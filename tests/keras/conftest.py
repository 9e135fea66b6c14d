"""The suite runs once for each backend of Keras, in processes that test_keras_backends starts."""

import os

if not os.environ.get("PHASECORE_KERAS_SUITE"):
    collect_ignore = ["suite"]
