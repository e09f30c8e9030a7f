import pytest

from stagecoach.policies.sharing import Claim, first_refusal, refusal

CASES = [
    (("ReadWriteMany",), True, ""),
    (("ReadWriteMany",), False, ""),
    (("ReadWriteOnce", "ReadWriteMany"), True, ""),
    (("ReadOnlyMany",), False, ""),
    (("ReadOnlyMany",), True, "accessModes [ReadOnlyMany]"),
    (("ReadWriteOnce",), True, "accessModes [ReadWriteOnce]"),
    (("ReadWriteOnce",), False, "accessModes [ReadWriteOnce]"),
    (("ReadWriteOncePod",), True, "accessModes [ReadWriteOncePod]"),
    ((), True, "accessModes []"),
    (("SomethingNew",), True, "accessModes [SomethingNew]"),
    (None, True, "There is no PersistentVolumeClaim 'store'"),
]


@pytest.mark.parametrize(("modes", "written", "words"), CASES)
def test_a_claim_is_shared_or_refused(modes: tuple[str, ...] | None, written: bool, words: str) -> None:
    told = refusal("store", Claim(modes), written=written, nodes=2)
    assert words in told
    assert bool(told) == bool(words)
    assert not told or "ReadWriteMany" in told, "the remedy is told"


def test_the_remedies_of_a_claim() -> None:
    told = refusal("store", Claim(("ReadWriteOnce",)), written=True, nodes=2)
    assert "s3://" in told
    assert "delete this run and create one with resources.nodes 1" in told, "else that may wait for this one"


def test_one_refused_claim_is_enough() -> None:
    claims = {"store": Claim(("ReadWriteMany",)), "models": Claim(("ReadWriteOnce",))}
    assert "'models'" in first_refusal({"store": True, "models": False}, claims, 2)
    assert not first_refusal({"store": True}, claims, 2)
