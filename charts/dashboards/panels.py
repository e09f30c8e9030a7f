"""Panels of the sorts that the dashboards have."""

from string import ascii_uppercase
from typing import Literal

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode, VariableRefresh

Unit = Literal["short", "reqps", "s", "percentunit", "percent", "none"]
# From which value on which color; the first one from none on.
Colors = tuple[tuple[float | None, str], ...]

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# What queries choose by, as the variables below have it.
CHOSEN = 'namespace="$namespace", deployment="$deployment"'


def variables(dashboard: build.Dashboard) -> None:
    """Add what people choose on top of the page: where the numbers are, and of which deployment."""
    dashboard.with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for name, query in (
        ("namespace", "label_values(stagecoach_gateway_ready, namespace)"),
        ("deployment", 'label_values(stagecoach_gateway_ready{namespace="$namespace"}, deployment)'),
    ):
        variable = build.QueryVariable(name).label(name.capitalize()).datasource(SOURCE).query(query)
        dashboard.with_variable(variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))


def by_release(expression: str) -> str:
    """Return the same series with a label `short`: the digits of a release by which people know it."""
    return f'label_replace({expression}, "short", "$1", "release", "sha256:(.{{12}}).*")'


def number(title: str, expression: str, means: str, *, unit: Unit = "short", colors: Colors = ()) -> stat.Panel:
    """Return a panel with one number."""
    panel = stat.Panel().title(title).description(means).datasource(SOURCE).unit(unit).height(4).span(4)
    panel.with_target(_query(expression, "", "A"))
    if colors:
        steps = [Threshold(value, color) for value, color in colors]
        panel.thresholds(build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return panel


def lines(
    title: str, means: str, *queries: tuple[str, str], unit: Unit = "short", span: int = 8, stacked: bool = False
) -> timeseries.Panel:
    """Return a panel of lines; each query is an expression, and how its lines are called."""
    panel = timeseries.Panel().title(title).description(means).datasource(SOURCE).unit(unit).min(0)
    panel.height(8).span(span).show_points(common.VisibilityMode.NEVER)
    legend = parts.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).show_legend(True)
    panel.legend(legend.placement(common.LegendPlacement.BOTTOM))
    panel.tooltip(parts.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    if stacked:
        panel.stacking(parts.StackingConfig().mode(common.StackingMode.NORMAL)).fill_opacity(30)
    for reference, (expression, called) in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_query(expression, called, reference))
    return panel


def _query(expression: str, called: str, reference: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(called).datasource(SOURCE)
    return query.ref_id(reference).range()
