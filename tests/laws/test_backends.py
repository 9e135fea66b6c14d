"""The torch backend keeps every law of backends, and each law has a backend that breaks it."""

import contextlib
import dataclasses

import pytest
from campaigns import campaign

import phasecore
from phasecore.backends import Backend
from phasecore.errors import InputError, PluginError, TrainingError
from phasecore.sampling import Sampling
from phasecore.testing import BACKEND_LAWS, BackendSubject, check_backend
from phasecore.weighting.uniform import uniform
from phasecore_torch.weighting import Weighting


@pytest.mark.parametrize("law", BACKEND_LAWS, ids=lambda law: law.__name__)
def test_the_torch_backend(law):
    law(BackendSubject(phasecore.backend("torch")))


class Altered(Backend):
    """Torch's, with something wrong."""

    name = "torch"
    supplies = phasecore.backend("torch").supplies

    def train(self, training, observer, checkpoint, *, resume):
        phasecore.backend("torch").train(training, observer, checkpoint, resume=resume)

    def versions(self):
        return {"torch": "2"}


class VersionNumbers(Altered):
    def versions(self):
        return {"torch": 2}


class Deaf(Altered):
    """Drops the last row and the last snapshot."""

    def train(self, training, observer, checkpoint, *, resume):
        class Rest:
            progressed = observer.progressed

            def captured(self, row):
                if row["iteration"] < training.settings.iterations:
                    observer.captured(row)

            def snapshot(self, iteration, arrays):
                if iteration < training.settings.iterations:
                    observer.snapshot(iteration, arrays)

        super().train(training, Rest(), checkpoint, resume=resume)


class Paceless(Altered):
    """Measures all probes at each capture."""

    def train(self, training, observer, checkpoint, *, resume):
        probes = [type(probe)() for probe in training.probes]
        super().train(dataclasses.replace(training, probes=probes), observer, checkpoint, resume=resume)


class OneSeed(Altered):
    def train(self, training, observer, checkpoint, *, resume):
        settings = dataclasses.replace(training.settings, seed=0)
        super().train(dataclasses.replace(training, settings=settings), observer, checkpoint, resume=resume)


class Forgetful(Altered):
    def train(self, training, observer, checkpoint, *, resume):
        super().train(training, observer, checkpoint, resume=False)


class Misled(Altered):
    """Says that it goes on where it begins."""

    def train(self, training, observer, checkpoint, *, resume):
        observer.resumed(0)
        super().train(training, observer, checkpoint, resume=resume)


class Unweighted(Altered):
    def train(self, training, observer, checkpoint, *, resume):
        super().train(dataclasses.replace(training, schemes={"u": uniform()}), observer, checkpoint, resume=resume)


class Unbalanced(Altered):
    """Gradients and traces are of terms without the weights of points."""

    def train(self, training, observer, checkpoint, *, resume):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Weighting, "point_factors", lambda weighting, indices: {})
            super().train(training, observer, checkpoint, resume=resume)


class Rooted(Altered):
    """Says that it moves points, and does not."""

    moves_points = True

    def train(self, training, observer, checkpoint, *, resume):
        super().train(dataclasses.replace(training, sampling=Sampling()), observer, checkpoint, resume=resume)


class Silent(Altered):
    def train(self, training, observer, checkpoint, *, resume):
        with contextlib.suppress(InputError, TrainingError, PluginError):
            super().train(training, observer, checkpoint, resume=resume)


BROKEN = {
    VersionNumbers: {"declares_itself"},
    Deaf: {"captures_when_due", "measures_each_probe_when_it_is_due", "takes_snapshots_when_asked"},
    Paceless: {"measures_each_probe_when_it_is_due"},
    OneSeed: {"one_seed_gives_one_history"},
    Forgetful: {"an_interrupted_training_goes_on_alike", "resuming_without_a_checkpoint_is_refused"},
    Misled: {"an_interrupted_training_goes_on_alike"},
    Unweighted: {"weights_enter_the_loss", "terms_are_balanced_as_points_weight_them", "wrong_weights_are_refused"},
    Rooted: {"points_move_as_the_sampling_says"},
    Unbalanced: {"terms_are_balanced_as_points_weight_them"},
    Silent: {
        "resuming_without_a_checkpoint_is_refused",
        "a_loss_that_is_not_finite_ends_the_training",
        "wrong_weights_are_refused",
    },
}


@pytest.mark.parametrize("broken", BROKEN)
def test_each_law_can_fail(broken):
    for law in BACKEND_LAWS:
        if law.__name__ in BROKEN[broken]:
            with pytest.raises(AssertionError):
                law(BackendSubject(broken()))


@pytest.mark.parametrize("broken", [Paceless, *campaign(*(broken for broken in BROKEN if broken is not Paceless))])
def test_every_other_law_holds(broken):
    report = check_backend(broken(), known_failures=dict.fromkeys(BROKEN[broken], "on purpose"))
    assert set(report.known_failures) == BROKEN[broken]
