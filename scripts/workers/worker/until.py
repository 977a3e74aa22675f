"""When a mean is known well enough to stop measuring: crates/stats/src/until.rs in Python, held to the same cases
(crates/worker/tests/until.json)."""

import math


def is_look(count, least):
    """Whether to look after `count` figures: after the fewest, and then each time that the count has grown by a quarter."""
    look = max(least, 1)
    while look < count:
        look += -(-look // 4)
    return look == count


def is_reached(series, share, least, most):
    """Whether to stop after series of as many figures each."""
    count = len(series[0])
    if count >= most:
        return True
    return is_look(count, least) and all(is_narrow(figures, share) for figures in series)


def is_narrow(figures, share):
    if len(figures) < 2:
        return False
    mean, half_width = mean_interval(figures)
    return half_width <= share * mean


def mean_interval(figures):
    """The mean of two figures or more that follow each other, and half the width of its 95 % interval: averaged over AR(1)
    processes, each weighted by its likelihood."""
    count = len(figures)
    mean = sum(figures) / count
    away = [figure - mean for figure in figures]
    squares = sum(one * one for one in away)
    if squares == 0:
        return mean, 0.0
    products = sum(one * other for one, other in zip(away, away[1:])) / squares
    scale = math.sqrt(squares)
    first, last = away[0] / scale, away[-1] / scale
    processes = []
    for step in range(20):
        rho = step / 20
        fresh = 1 - rho
        information = fresh * (1 + rho + (count - 1) * fresh)
        offset = rho * fresh * (first + last) / information
        rest = 1 + rho * rho - rho * rho * (first * first + last * last) - 2 * rho * products - information * offset * offset
        rest = max(rest, 1e-300)
        ln_weight = 0.5 * math.log((1 + rho) / information) - 0.5 * (count - 1) * math.log(rest)
        processes.append((ln_weight, rest / ((count - 1) * information) + offset * offset))
    largest = max(ln_weight for ln_weight, _ in processes)
    weights = [math.exp(ln_weight - largest) for ln_weight, _ in processes]
    variance = sum(weight * variance for weight, (_, variance) in zip(weights, processes)) / sum(weights)
    return mean, student_quantile(count - 1) * scale * math.sqrt(variance)


def student_quantile(degrees):
    """What |T| of so many degrees of freedom exceeds with probability 5 %, by bisection."""
    low, high = 1.9, 13.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, degrees) < 0.95 else (low, middle)
    return (low + high) / 2


def within(t, degrees):
    """P(|T| <= t): Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(theta), math.sin(theta)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if is_odd else 2, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (theta + sine * total) if is_odd else sine * total
