"""Write random models of some thousand weights into a folder: bases that train in seconds, one of each family.

It runs when the image of the trainer's tests is made, so that no test waits for it.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.unit.trainer import test_encoder_decoders, test_encoders

SPECIAL = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main(folder: Path) -> None:
    """Write the models."""
    save_decoder(folder / "small")
    # vLLM's attention on a CPU knows heads of 32, 64 and more.
    save_decoder(folder / "served", hidden_size=64, num_attention_heads=2, num_key_value_heads=1)
    test_encoders.save_base(folder / "bert", "BertForMaskedLM")
    test_encoders.save_base(folder / "served-bert", "BertForMaskedLM", hidden_size=64, num_attention_heads=2)
    test_encoder_decoders.save_base(folder / "t5", "T5ForConditionalGeneration")


def save_decoder(folder: Path, **sizes: int) -> None:
    """Write a Llama with a tokenizer of bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[1], pad_token=SPECIAL[1]
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(words),
        intermediate_size=64,
        num_hidden_layers=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        **({"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2} | sizes),
    )
    LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
