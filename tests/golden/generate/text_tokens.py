"""Token batches as transformers pads and cuts them, with two small tokenizers."""

import json
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PATH = Path(__file__).parents[1] / "data" / "text_tokens.json"

TEXTS = [
    "How do I top up my card?",
    "My card hasn't arrived yet, and I have been waiting for it since the beginning of the month; what now?",
    "Café déjà-vu, naïve façade",
    "top-up failed!!",
    "Why?",
    "transfer 1,000.50 € to 北京 🙂",
    "  spaces   and\ttabs \n and lines  ",
    "unaffordable untransferable unwaiting",
]


def word_piece() -> Tokenizer:
    """As BERT's uncased one: a word that its pieces do not make is unknown."""
    words = "how do i top up my card arrived yet have been wait for it since the of month what now cafe deja vu why to and"
    pieces = "un transfer ##able ##ing ##s ##ed afford fail space tab line nai ##ve hasn t 1 000 50 . , ! ? ; ' - €"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words.split(), *pieces.split(), "北"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


def byte_pairs() -> Tokenizer:
    """As GPT-2's: bytes and merges, with an end of text; segments of padding differ from those of texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=sorted(alphabet), special_tokens=["<pad>", "<end>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:1 <end>:1", pair="$A:1 <end>:1 $B:2 <end>:2", special_tokens=[("<end>", 1)]
    )
    return tokenizer


# Tokenizer, its padding, and the side that is cut; the file that has them.
FILES = {
    "word_piece": (word_piece, {"direction": "right", "pad_id": 0, "pad_token": "[PAD]"}, "right"),
    "byte_pairs": (byte_pairs, {"direction": "left", "pad_id": 0, "pad_token": "<pad>"}, "left"),
}

# max_length, special_tokens, and pad_to in the words of TokenizerOptions.
SETTINGS = [
    (128, True, "longest"),
    (9, True, "longest"),
    (128, False, "longest"),
    (1, False, "longest"),
    (128, True, {"multiple": 8}),
    (12, True, {"multiple": 5}),
    (16, True, {"fixed": 24}),
    (16, False, {"fixed": 16}),
]


def case(name: str, tokenizer: Tokenizer, setting: tuple) -> dict:
    _, padding, cut = FILES[name]
    max_length, special, pad_to = setting
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=padding["pad_token"], padding_side=padding["direction"], truncation_side=cut
    )
    rows = fast(TEXTS, truncation=True, max_length=max_length, add_special_tokens=special, return_token_type_ids=True)
    # Padded by transformers' own code in Python.
    fixed = pad_to["fixed"] if "fixed" in pad_to else None
    tokens = fast.pad(
        rows,
        padding="max_length" if fixed else "longest",
        max_length=fixed,
        pad_to_multiple_of=pad_to["multiple"] if "multiple" in pad_to else None,
    )
    options = {"max_length": max_length, "special_tokens": special, "pad_to": pad_to}
    return {
        "tokenizer": name,
        "options": options,
        "ids": tokens["input_ids"],
        "mask": tokens["attention_mask"],
        "type_ids": tokens["token_type_ids"],
    }


def main() -> None:
    files, cases = {}, []
    for name, (make, padding, cut) in FILES.items():
        cases += [case(name, make(), setting) for setting in SETTINGS]
        tokenizer = make()
        tokenizer.enable_padding(**padding)
        tokenizer.enable_truncation(5, direction=cut)
        files[name] = json.loads(tokenizer.to_str())
    dump = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    versions = {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__}
    parts = [
        f'"versions":{dump(versions)}',
        f'"texts":{dump(TEXTS)}',
        *(f'"{name}":{dump(file)}' for name, file in files.items()),
        '"cases":[\n' + ",\n".join(map(dump, cases)) + "\n]",
    ]
    PATH.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"{PATH.name}: {len(cases)} cases, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
