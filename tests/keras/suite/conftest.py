import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.clear_session(free_memory=False)  # which takes half a second each time
    keras.utils.set_random_seed(0)
