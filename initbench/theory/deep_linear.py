"""How a deep linear network learns: the strength of each mode, and the loss, exactly.

Of m weight matrices (m - 1 hidden layers), all of which start diagonal and equal in a basis in which the inputs'
second moments and their correlation with the targets are diagonal too, each mode goes its own way (Saxe, McClelland &
Ganguli 2014, sections 1.3 and 2: decoupled initial conditions). With q = E[x²] and p = E[t x] of a mode, k outputs
and the loss E[mean_c (y_c - t_c)²], full-batch gradient descent on the strength a of one matrix in a mode is

    a <- a - lr (2/k) a^(m-1) (q a^m - p)

and, where a step changes little, the product u = a^m grows towards s = p/q by their equation for du/dt, in which
tau = k / (2 q lr) updates and m is their N_l - 1:

    tau du/dt = m u^(2 - 2/m) (s - u)

One hidden layer (m = 2) has u(t) = s / (1 + (s/u_0 - 1) exp(-2 s t/tau)); any other the time that u takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, hyp2f1, logit

from initbench.core.errors import require

Real = NDArray[np.float64]

CLOSE = 1e-5
"""Relative: images are float32."""
GENERIC = (5**0.5 - 1) / 2
"""With this weight a sum of two matrices has eigenvectors that are those of both."""
NEARLY = 12.0
"""Log-odds of u / s from which on two terms of the series in exp(-x) are exact to 1e-11, and 1 - u/s is not."""
CONVERGED, MOST_ROUNDS = 1e-8, 1_000
"""Of Newton's method, which doubles the digits in each round: the last step was below the square root of rounding."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt, mode by mode."""

    outputs: int
    """k."""
    second_moment: Real
    """q of each mode, `modes`."""
    target: Real
    """s of each mode."""
    mean: Real
    """E[x] of each mode."""
    floor: float
    """The loss that no linear map avoids."""

    def loss(self, strength: Real) -> Real:
        """Of strengths u, `... modes`: sum q (u - s)² / k, and the floor."""
        return self.floor + (self.second_moment * (strength - self.target) ** 2).sum(-1) / self.outputs

    def require_decoupled(self, start: float) -> None:
        """Raises `UsageError` unless biases of 0 stay 0, and no mode shrinks, where all start at strength `start`.

        A bias's gradient is the mean residual times the weights above it: none where each mode in which the inputs have
        a mean is learnt already.
        """
        off = np.abs(start - self.target) * np.abs(self.mean)
        require(bool((off < CLOSE).all()), "biases would learn: the start must have the mean of the targets right")
        require(bool((start <= self.target * (1 + CLOSE)).all()), f"a mode starts at {start:g}, beyond its target")

    def largest_lr(self, matrices: int) -> float:
        """The learning rate from which on rounding would grow at the end of learning: 2 / the largest curvature.

        With u_i = a_i^m of mode i, weights of m layers between modes j and i have together the curvature
        (2/k) q_j sum_l a_i^(2(m-l)) a_j^(2(l-1)); biases, and weights from where the inputs have a mean, have
        (2/k) sum_l a_i^(2(m-l)) (1 + sum_j E[x_j]² a_j^(2(l-1))).
        """
        below = self.target[:, None] ** (2 * np.arange(matrices) / matrices)
        above = below[:, ::-1]
        weights = above @ below.T * self.second_moment
        constant = above @ (1 + self.mean**2 @ below)
        return self.outputs / float(max(weights.max(), constant.max()))


def task(images: Real, targets: Real) -> Task:
    """The modes of images `samples features` and targets `samples outputs`, for weights that start as multiples of 1.

    Raises `UsageError` where no basis makes E[x x'] and E[t x'] diagonal both.
    """
    (samples, features), outputs = images.shape, targets.shape[1]
    require(features == outputs, f"the identity has as many outputs as inputs, not {outputs} and {features}")
    inputs, correlation = images.T @ images / samples, targets.T @ images / samples
    basis = np.linalg.eigh(inputs + GENERIC * (correlation + correlation.T))[1]
    diagonal = [basis.T @ matrix @ basis for matrix in (inputs, correlation)]
    for matrix in diagonal:
        off = np.abs(matrix - np.diag(np.diag(matrix))).max()
        require(bool(off < CLOSE * np.abs(matrix).max()), "the modes of these inputs and targets are coupled")
    second_moment, product = (np.diag(matrix) for matrix in diagonal)
    there = second_moment > CLOSE * second_moment.max()
    q, s = second_moment[there], product[there] / second_moment[there]
    floor = float((targets**2).sum(1).mean() - (q * s**2).sum()) / outputs
    return Task(outputs, q, s, (images.mean(0) @ basis)[there], max(floor, 0.0))


def gradient_descent(of: Task, start: float, matrices: int, lr: float, steps: int) -> Real:
    """The strengths u after each update, `steps+1 modes`, of matrices that start as `start` times the identity."""
    a = np.full_like(of.target, start)
    strengths = [a**matrices]
    for _ in range(steps):
        a = a - lr * 2 / of.outputs * of.second_moment * a ** (matrices - 1) * (a**matrices - of.target)
        strengths.append(a**matrices)
    return np.array(strengths)


def gradient_flow(of: Task, start: float, matrices: int, lr: float, steps: ArrayLike) -> Real:
    """The same in continuous time: the strengths u after each number of `steps` of a small `lr`, `steps modes`."""
    time = 2 * lr / of.outputs * of.second_moment * np.asarray(steps, float)[:, None]
    return strength(time, start**matrices, of.target, matrices)


def strength(time: Real, start: float, target: Real, matrices: int) -> Real:
    """u(t), with `time` in units of tau; what has reached its target stays there.

    The inverse of `learning_time` by Newton's method in the log-odds x = ln(u / (s - u)), in which it is concave.
    """
    learnt = start >= target * (1 - CLOSE)
    goal = np.where(learnt, 2 * start, target)  # any: not used
    if matrices == 1:
        found = goal - (goal - start) * np.exp(-time)
    elif matrices == 2:
        found = goal / (1 + (goal / start - 1) * np.exp(-2 * goal * time))
    else:
        first = logit(start / goal)
        x = np.broadcast_to(first, np.broadcast_shapes(time.shape, first.shape)).copy()
        due = _passed(first, goal, matrices) + matrices * time
        for _ in range(MOST_ROUNDS):
            step = (due - _passed(x, goal, matrices)) * goal * (goal * expit(x)) ** (1 - 2 / matrices)
            x += step
            if (np.abs(step) < CONVERGED).all():
                break
        found = goal * expit(x)
    return np.where(learnt, start, found)


def learning_time(strength: Real, start: Real, target: Real, matrices: int) -> Real:
    """How long a mode takes from `start` to `strength` below its `target`, in units of tau: the integral of 1/(du/dt).

    One hidden layer: ln(u (s - u_0) / (u_0 (s - u))) / (2 s). As m grows, m times this goes to
    (1/u_0 - 1/u)/s + ln(u (s - u_0) / (u_0 (s - u)))/s²: a bounded delay at a learning rate of 1/m.
    """
    ends = [_passed(logit(u / target), target, matrices) for u in (start, strength)]
    return (ends[1] - ends[0]) / matrices


def _passed(x: Real, s: Real, matrices: int) -> Real:
    """The integral of dv / (v^(2-2/m) (s - v)) to u = s expit(x), up to a constant: a hypergeometric function."""
    if matrices == 2:
        return x / s
    power = 2 / matrices - 1
    near = np.minimum(x, NEARLY)
    until = (s * expit(near)) ** power / (power * s) * hyp2f1(1, power, power + 1, expit(near))
    return until + s ** (power - 1) * (x - near + power * (np.exp(-x) - np.exp(-near)))
