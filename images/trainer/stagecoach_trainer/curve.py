"""The loss curve of a training as a picture: the same numbers give the same bytes."""

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stagecoach.contract.records import TrainingRecord

# Text stays text, in the reader's font; names inside the file are made with this salt instead of a random one.
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "stagecoach"}
METADATA = {"Date": None, "Creator": None, "Title": "Loss over steps"}
# A line needs two points; where there is one, it is marked.
FEW = 2


def svg(training: TrainingRecord) -> bytes:
    """Return the training's loss and that on the validation sets, and below them the learning rate, by step."""
    content = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(8, 5), layout="constrained")
        losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_losses(losses, training)
        _draw_rates(rates, training)
        figure.savefig(content, format="svg", metadata=METADATA)
    return content.getvalue()


def _draw_losses(axes: Axes, training: TrainingRecord) -> None:
    points = training.losses
    steps, values = [point.step for point in points], [point.loss for point in points]
    axes.plot(steps, values, marker="." if len(points) < FEW else None, label="training")
    if evaluations := training.evaluations:
        steps, values = [point.step for point in evaluations], [point.loss for point in evaluations]
        axes.plot(steps, values, marker="o", label="validation")
    if training.best_step is not None:
        axes.axvline(training.best_step, color="gray", linestyle=":", label="published")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_rates(axes: Axes, training: TrainingRecord) -> None:
    points = training.losses
    steps, values = [point.step for point in points], [point.learning_rate for point in points]
    axes.plot(steps, values, marker="." if len(points) < FEW else None, color="tab:green")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
