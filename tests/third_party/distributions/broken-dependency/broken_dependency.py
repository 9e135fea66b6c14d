"""Its scheme needs a package that nobody has."""

import phasecore


@phasecore.hookimpl
def phasecore_entries():
    return [
        phasecore.Entry(
            "weighting",
            "dependent",
            "broken_dependency_scheme:dependent",
            needs=("a_package_that_nobody_has",),
            extra="broken-dependency[all]",
        )
    ]
