"""The file of Keras' own CSVLogger: the phases in it are those that the monitor saw."""

import keras
import pytest

import phasecore
import phasecore_keras
from phasecore.recording.reading import read_curve

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("separator", [",", ";"])
def test_the_file_of_a_csv_logger_holds_the_captures_of_the_monitor(tmp_path, separator):
    network = keras.Sequential([keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    pinn = phasecore_keras.PINN(network, phasecore.problem("burgers"))
    pinn.compile(optimizer="adam")
    monitor = phasecore_keras.PhaseMonitor(every=3, batches=10)
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"), separator=separator)
    pinn.fit(pinn.points(40, seed=0), epochs=14, callbacks=[monitor, logger], verbose=0)
    curve = read_curve(tmp_path / "log.csv")
    seen = [row for row in monitor.history if row["iteration"] in curve.iteration]
    assert len(seen) >= 4
    assert curve.iteration.tolist() == [row["iteration"] for row in seen]
    assert curve.columns["snr"].tolist() == [row["snr"] for row in seen]
