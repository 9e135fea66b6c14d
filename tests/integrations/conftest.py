"""The suite runs in the environment `.venv/integrations`, in processes that test_integrations starts."""

import os

if not os.environ.get("PHASECORE_INTEGRATIONS_SUITE"):
    collect_ignore = ["suite"]
