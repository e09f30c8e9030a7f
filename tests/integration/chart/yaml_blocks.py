"""The examples in the pages about the kinds."""

import re

import yaml

from tests.integration.chart.tools import DOCUMENTS, Object


def blocks(page: str) -> list[Object]:
    """Return the documents in the YAML blocks of a page."""
    text = (DOCUMENTS / f"{page}.md").read_text()
    found = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [document for block in found for document in yaml.safe_load_all(block)]


def example(kind: str) -> Object:
    """Return the complete example of a kind: the first block of its page."""
    return blocks(f"api/{kind}")[0]
