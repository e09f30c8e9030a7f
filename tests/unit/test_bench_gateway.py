from tests.bench.gateway import Proxy, Target, table, targets


def proxy(name: str, cost: float, alone: float, chunk: float = 0.0) -> Proxy:
    return Proxy(name, 1, "m", cost=[cost, cost * 3, cost], alone=[alone], chunk=[chunk] if chunk else [])


def test_ratios_are_of_what_a_request_costs() -> None:
    ours, direct = proxy("stagecoach", 100e-6, 0.0005, 20e-6), Proxy("no proxy", 1, "m", alone=[0.0001])
    found = targets(ours, direct, {"nginx": proxy("nginx", 10e-6, 0.0002)})
    assert [target.line for target in found] == [
        "requests per CPU second, times LiteLLM's: not measured (to reach: ≥ 40)",
        "requests per CPU second, % of nginx's: 10 (to reach: ≥ 6)",
        "added at the median to one request at a time, ms: 0.4 (to reach: ≤ 0.5)",
        "CPU per streamed chunk, µs: 20 (to reach: ≤ 35)",
    ]
    assert "100.0" in table([ours, direct])


def test_what_is_missed_is_said() -> None:
    assert Target("x", 3, least=4).line == "x: 3 (to reach: ≥ 4, MISSED)"
    assert Target("x", 3, most=2).line == "x: 3 (to reach: ≤ 2, MISSED)"
