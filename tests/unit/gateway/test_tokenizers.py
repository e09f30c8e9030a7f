"""Tokenizers without transformers: the same tokens as with it, where it is at hand."""

import shutil
from pathlib import Path

import pytest

from stagecoach.contract.inputs import Family, Overflow, Prompt, Tokenization
from stagecoach.contract.prompts import encoder_for
from stagecoach.contract.reports import BadInput
from stagecoach_gateway import tokenizers_of_bases
from stagecoach_gateway.tokenizers_of_bases import BadTokenizer
from tests.unit.gateway import releases

TEXTS = [
    "my card was lost",
    "",
    "  ",
    "größe 漢字 🎉",
    "<end> <turn>",
    "a , b . c ?",
    "it 's n't the card .",
    "{{ x }} {% y %}",
]


def test_a_folder_that_is_not_what_its_digest_says(tmp_path: Path) -> None:
    digest = releases.tokenizer(tmp_path)
    assert tokenizers_of_bases.load(tmp_path, digest).eos_token_id == 2
    folder = tmp_path / digest.removeprefix("sha256:")
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(BadTokenizer, match="put there the files of the tokenizer, and no others"):
        tokenizers_of_bases.load(tmp_path, digest)
    shutil.rmtree(folder)
    with pytest.raises(BadTokenizer, match="mount the tokenizer there"):
        tokenizers_of_bases.load(tmp_path, digest)


@pytest.mark.parametrize(
    "template",
    [
        "{% set n = namespace(_a=1) %}",
        "{% set n = namespace(a=1) %}{% set n.__init__ = 2 %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_reaches_nothing_but_the_conversation(template: str, tmp_path: Path) -> None:
    digest = releases.tokenizer(tmp_path)
    tokenizer = tokenizers_of_bases.load(tmp_path, digest)
    tokenizer.chat_template = template
    rule = Tokenization(max_length=16, overflow=Overflow.TRUNCATE)
    with pytest.raises(BadInput, match="refuses this conversation"):
        encoder_for(Family.DECODER, tokenizer, Prompt(template="{text}"), rule).encode("a")


def test_what_templates_do(tmp_path: Path) -> None:
    tokenizer = tokenizers_of_bases.load(tmp_path, releases.tokenizer(tmp_path))
    tokenizer.chat_template = (
        "{%- set n = namespace(count=0) -%}{%- for m in messages -%}{%- if loop.index > 1 -%}{% break %}{%- endif -%}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% set n.count = n.count + 1 %}{%- endfor -%}"
        "{{ n.count }}{{ {'a': 'ö<'} | tojson }}{{ eos_token }}{{ strftime_now('%Y') }}"
    )
    rule = Tokenization(max_length=64, overflow=Overflow.TRUNCATE)
    encoder = encoder_for(Family.DECODER, tokenizer, Prompt(template="{text}"), rule)
    assert encoder.render("hello") == 'hello1{"a": "ö<"}<end>2024'


@pytest.mark.parametrize("chat", [True, False])
def test_transformers_says_the_same(chat: bool, tmp_path: Path) -> None:
    library = pytest.importorskip("transformers.tokenization_utils_tokenizers")
    digest = releases.tokenizer(tmp_path, chat=chat)
    _compare(library, tmp_path / digest.removeprefix("sha256:"), tokenizers_of_bases.load(tmp_path, digest))


def _compare(library, folder: Path, ours: tokenizers_of_bases.BaseTokenizer) -> None:  # type: ignore[no-untyped-def]
    theirs = library.PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    assert ours.eos_token_id == theirs.eos_token_id
    assert set(ours.all_special_ids) == set(theirs.all_special_ids)
    family = Family.DECODER if ours.chat_template else Family.ENCODER
    prompt = Prompt(system="route" if ours.chat_template else None, template="a : {text}")
    whole = Tokenization(max_length=512, overflow=Overflow.TRUNCATE)
    frame = encoder_for(family, ours, prompt, whole).frame
    for rule in (whole, Tokenization(max_length=max(8, len(frame) + 4), overflow=Overflow.TRUNCATE)):
        one, other = (encoder_for(family, each, prompt, rule) for each in (ours, theirs))
        assert one.frame == other.frame
        for text in TEXTS:
            assert one.encode(f"a {text}") == other.encode(f"a {text}")
            assert one.completion(text) == other.completion(text)
            ids = list(one.completion(text))
            assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)
