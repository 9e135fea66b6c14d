"""Functions under `torch.compile`: any number of networks in one process, each compiled, those that are alike once."""

import torch

from phasecore_torch.compiling import Compiled


def graphs_of(monkeypatch, sizes):
    """Compile networks for (width, number of points) each, keep all; return how many graphs torch made."""
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=keep, **options))
    kept = []
    for width, count in sizes:
        model = torch.nn.Linear(2, width)
        compiled = Compiled(model.forward, "a layer is evaluated", parameters=model.parameters())
        points = torch.ones(count, 2)
        torch.testing.assert_close(compiled(points), model(points))
        assert compiled.active
        assert compiled.seconds is not None
        kept.append(compiled)
    return len(graphs)


def test_more_shapes_than_torch_keeps_versions_of_one_function(monkeypatch):
    assert graphs_of(monkeypatch, [(width, 3) for width in range(31, 51)]) == 20


def test_more_numbers_of_points_than_that_for_networks_of_one_shape(monkeypatch):
    assert graphs_of(monkeypatch, [(54, count) for count in range(3, 23)]) == 20


def test_networks_of_one_shape_are_compiled_once(monkeypatch):
    assert graphs_of(monkeypatch, [(53, 3)] * 12) == 1
