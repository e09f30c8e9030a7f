import pytest

from stagecoach.contract import metrics


@pytest.mark.parametrize(
    ("task", "name", "there"),
    [
        ("Classification", "f1_macro", True),
        ("Classification", "bleu", False),
        ("TokenClassification", "seqeval_f1", True),
        ("Translation", "bleu", True),
        ("Embedding", "recall_at_1", True),
        ("Embedding", "ndcg_at_9999", True),
        ("Embedding", "recall_at_0", False),
        ("Embedding", "recall_at_05", False),
        ("Embedding", "recall_at_<k>", False),
        ("Embedding", "mrr_at_10", False),
        ("Classification", "recall_at_1", False),
        ("Reranking", "mrr", False),
    ],
)
def test_a_metric_is_found_by_task_and_name(task: str, name: str, there: bool) -> None:
    assert (metrics.find(task, name) is not None) is there


@pytest.mark.parametrize(
    "task", ["Classification", "TokenClassification", "Generation", "Summarization", "Translation", "Embedding"]
)
def test_what_a_report_shows_is_found_by_its_name(task: str) -> None:
    assert metrics.usual(task)
    assert all(metrics.find(task, metric.name) == metric for metric in metrics.usual(task))
    assert all(metrics.find(task, name) for name in metrics.names(task) if "<k>" not in name)


def test_a_rank_is_in_the_name() -> None:
    assert metrics.cut("recall_at_10") == ("recall", 10)
    assert metrics.cut("mrr") is None
