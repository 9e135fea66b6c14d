"""One problem through one adapter, from given parameters and points: `parity_worker.py ADAPTER IN OUT [IN OUT ...]`.

IN holds the layers' kernels of shape (inputs, outputs), biases, points, the order of mini-batches, and how many
iterations the curve has; OUT gets residuals, losses, gradients, weights, statistics and a loss curve, float32
throughout.
"""

import sys

import numpy as np

import phasecore

UPDATES = 25
BATCHES = 20


def given(file):
    data = dict(np.load(file))
    layers = sum(name.startswith("kernel_") for name in data)
    problem = phasecore.problem(str(data["problem"]))
    conditions = tuple(data[f"condition_{k}"] for k in range(len(problem.conditions)))
    points = phasecore.problems.CollocationPoints(data["interior"], conditions)
    kernels = [data[f"kernel_{k}"] for k in range(layers)]
    biases = [data[f"bias_{k}"] for k in range(layers)]
    orders = [data[f"order_{k}"] for k in range(3)]
    return problem, str(data["weighting"]), points, kernels, biases, orders, int(data["curve"])


def balances_gradients(parts):
    """Whether a batch of points would give other weights: what reads gradients does so on all points in Keras."""
    return any(part.scheme.requires & {"term_gradients", "tangent_kernel_traces"} for part in parts)


def named(prefix, values):
    return {f"{prefix}{name}": np.asarray(value, dtype=np.float64) for name, value in values.items()}


def by_torch(problem, weighting, points, kernels, biases, orders, curve):
    import torch

    import phasecore_torch

    def network():
        layers = []
        for kernel, bias in zip(kernels, biases, strict=True):
            linear = torch.nn.Linear(*kernel.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(kernel.T))
                linear.bias.copy_(torch.tensor(bias))
            layers += [linear, torch.nn.Tanh()]
        return torch.nn.Sequential(*layers[:-1])

    def numbers(tensors):
        return {name: tensor.detach().numpy() for name, tensor in tensors.items()}

    model = network()
    loss = phasecore_torch.PhysicsLoss(problem, model, points, weighting=weighting)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(UPDATES):
        value = loss()
    found = {"loss_after_updates": value.detach().numpy(), **named("weight_", numbers(loss.point_weights()))}
    evaluation = loss.evaluate()
    found |= named("residual_", numbers(evaluation.residuals)) | named(
        "condition_", numbers(evaluation.condition_residuals)
    )
    found |= named("unweighted_", numbers(evaluation.unweighted)) | named("weighted_", numbers(evaluation.weighted))
    loss.eval()
    torch.autograd.backward(loss())
    linears = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    for k, layer in enumerate(linears):
        blank = torch.zeros_like(layer.bias)
        found[f"gradient_kernel_{k}"] = layer.weight.grad.numpy().T
        found[f"gradient_bias_{k}"] = (blank if layer.bias.grad is None else layer.bias.grad).numpy()
    found |= named("statistic_", phasecore_torch.Capture(loss, optimizer, batches=BATCHES).measure())
    parts = loss.weighting.parts
    for part in parts:
        found |= named(f"weight_{part.scheme_name}_", numbers({term: part.weight(term) for term in part.weighted}))
    loss.train()
    if not balances_gradients(parts):
        for order in orders:
            for indices in torch.tensor(order).split(len(order) // 3):
                loss(indices)
        found |= named("weight_of_batches_", numbers(loss.point_weights()))

    model = network()
    loss = phasecore_torch.PhysicsLoss(problem, model, points, weighting=weighting)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found["curve"] = []
    for _ in range(curve):
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        optimizer.step()
        found["curve"].append(float(value.detach()))
    return found


def by_keras(problem, weighting, points, kernels, biases, orders, curve):
    import keras
    from keras import layers, ops

    import phasecore_keras
    from phasecore_keras.autodiff import autodiff, to_numpy

    def pinn(optimizer):
        hidden = [layers.Dense(kernel.shape[1], activation="tanh") for kernel in kernels[:-1]]
        network = keras.Sequential([keras.Input((kernels[0].shape[0],)), *hidden, layers.Dense(kernels[-1].shape[1])])
        for layer, kernel, bias in zip(network.layers, kernels, biases, strict=True):
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)
        model = phasecore_keras.PINN(network, problem, weighting=weighting)
        model.compile(optimizer=optimizer)
        return model, model.points(points)

    def numbers(tensors):
        return {name: to_numpy(tensor) for name, tensor in tensors.items()}

    class Batches(keras.utils.PyDataset):
        def __init__(self, data, batches):
            super().__init__()
            self.data, self.batches = data, batches

        def __len__(self):
            return len(self.batches)

        def __getitem__(self, index):
            return ({name: values[self.batches[index]] for name, values in self.data.items()},)

    model, data = pinn(keras.optimizers.SGD(0.0))
    history = model.fit(data, epochs=UPDATES, shuffle=False, verbose=0).history
    physics = model.physics
    found = {"loss_after_updates": history["loss"][-1], **named("weight_", numbers(physics.point_weights()))}
    coordinates, indices = (ops.convert_to_tensor(values) for values in data.values())
    evaluation = physics.evaluate(coordinates)
    found |= named("residual_", numbers(evaluation.residuals)) | named(
        "condition_", numbers(evaluation.condition_residuals)
    )
    found |= named("unweighted_", numbers(evaluation.unweighted)) | named("weighted_", numbers(evaluation.weighted))

    def loss(coordinates, indices):
        return model.compute_loss(x={"coordinates": coordinates, "indices": indices}, training=False)

    trained = list(model.trainable_variables)
    others = [variable for variable in model.variables if all(variable is not other for other in trained)]
    gradients = autodiff().gradients(loss, trained, others)(coordinates, indices)
    for k, gradient in enumerate(gradients):
        found[f"gradient_{'bias' if k % 2 else 'kernel'}_{k // 2}"] = to_numpy(gradient)
    found |= named("statistic_", phasecore_keras.Capture(model, batches=BATCHES).measure())
    parts = model.weighting.parts
    for part in parts:
        found |= named(f"weight_{part.scheme_name}_", numbers({term: part.weight(term) for term in part.weighted}))
    if not balances_gradients(parts):
        for order in orders:
            size = len(order) // 3
            batches = [order[start : start + size] for start in range(0, len(order), size)]
            model.fit(Batches(data, batches), epochs=1, shuffle=False, verbose=0)
        found |= named("weight_of_batches_", numbers(physics.point_weights()))

    if curve:
        model, data = pinn(keras.optimizers.Adam(1e-3, epsilon=1e-8))
        found["curve"] = model.fit(data, epochs=curve, shuffle=False, verbose=0).history["loss"]
    return found


if __name__ == "__main__":
    adapter, *files = sys.argv[1:]
    compute = by_torch if adapter == "torch" else by_keras
    for number in range(0, len(files), 2):
        np.savez(files[number + 1], **compute(*given(files[number])))
