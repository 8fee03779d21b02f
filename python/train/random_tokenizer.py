"""Trains the tokenizer of the random-weight models: byte-level BPE over the harness's prose.

    pip install tokenizers==0.23.3
    python3 python/train/random_tokenizer.py

Writes tokenizer.json and tokenizer_config.json to crates/models/random/. BPE training has no randomness and
ties are broken by the pair's ids, so the same library version writes the same bytes. Every byte is in the
alphabet: no text is unknown. The special tokens behave as ModernBERT's do ([MASK] takes the space before it).
"""

import json
import pathlib

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

VOCAB_SIZE = 4096
MAX_TOKENS = 8192
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CRATES = pathlib.Path(__file__).resolve().parents[2] / "crates"
OUT = CRATES / "models" / "random"
PROSE = CRATES / "validate" / "corpus" / "prose.txt"


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(t, special=True, normalized=False, lstrip=t == "[MASK]") for t in SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(PROSE.read_text(encoding="utf-8").split("\n"), trainer)
    ids = {t: tokenizer.token_to_id(t) for t in SPECIAL}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:0 [SEP]:0",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer


def main():
    tokenizer = train()
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    assert [tokenizer.token_to_id(t) for t in SPECIAL] == list(range(len(SPECIAL)))
    path = OUT / "tokenizer.json"
    path.write_text(tokenizer.to_str(pretty=False) + "\n", encoding="utf-8", newline="\n")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": MAX_TOKENS,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    (OUT / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"tokenizers {tokenizers.__version__}: {path.stat().st_size} bytes, {VOCAB_SIZE} tokens")


if __name__ == "__main__":
    main()
