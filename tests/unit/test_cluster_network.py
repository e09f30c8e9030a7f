from tests.cluster.network import Network, cable_name, conflicts


def test_a_used_range_conflicts() -> None:
    assert conflicts(Network(7), ["default", "10.245.7.0/24"])
    assert conflicts(Network(7), ["10.244.7.3"])


def test_neighbours_and_wide_routes_do_not_conflict() -> None:
    assert not conflicts(Network(7), ["default", "10.0.0.0/8", "10.245.8.0/24", "127.0.0.1", "192.168.0.0/16"])


def test_the_interface_name_fits_the_kernels_limit() -> None:
    assert len(cable_name("0123abcd")) <= 15
