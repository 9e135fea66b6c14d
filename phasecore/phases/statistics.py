"""Signal-to-noise ratios and order parameters of gradients, from norms.

Sources: arXiv 2403.18494, equations for the gradient SNR and the order parameter; the norms are taken over
all weight matrices, the moments over batches of collocation points (population standard deviation).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def signal_to_noise_ratio(mean_norm: npt.ArrayLike, std_norm: npt.ArrayLike) -> FloatArray:
    """Return `norm2(mean_b g_b) / norm2(std_b g_b)`.

    Args:
        mean_norm: norms of the mean gradient over batches, any shape.
        std_norm: norms of its population standard deviation, broadcastable to the same shape.

    Returns:
        The ratio, infinite where only the deviation is zero, and NaN where both are.

    Example:
        >>> signal_to_noise_ratio([1.0, 2.0], [0.5, 0.0]).tolist()
        [2.0, inf]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(mean_norm, std_norm, dtype=np.float64))


def order_of_log_snr(log_snr: npt.ArrayLike) -> FloatArray:
    """Return the order parameter of batch gradients, `SNR / sqrt(1 + SNR^2)`, in [0, 1].

    It is the norm of the mean over the norm of the root mean square: 1 where all batches agree.

    Args:
        log_snr: log10 of signal-to-noise ratios, any shape; clipped to within eight decades of 1.

    Example:
        >>> order_of_log_snr([-300.0, 0.0, 300.0]).round(4).tolist()
        [0.0, 0.7071, 1.0]
    """
    clipped = np.minimum(np.maximum(np.asarray(log_snr, dtype=np.float64), -8.0), 8.0)
    return np.asarray(1.0 / np.sqrt(1.0 + 10.0 ** (-2.0 * clipped)))


def snr_of_order(order: npt.ArrayLike) -> FloatArray:
    """Return the signal-to-noise ratio of an order parameter, `order / sqrt(1 - order^2)`.

    The reciprocal is the coefficient of variation of what was averaged.

    Args:
        order: order parameters in [0, 1], any shape; 1 gives infinity, and so do values above,
            which rounding makes of it.

    Example:
        >>> snr_of_order([0.0, 0.5**0.5, 1.0]).round(4).tolist()
        [0.0, 1.0, inf]
    """
    value = np.minimum(np.asarray(order, dtype=np.float64), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(value / np.sqrt((1.0 - value) * (1.0 + value)))
