"""Cannot be imported."""

import phasecore.no_such_module  # noqa: F401
