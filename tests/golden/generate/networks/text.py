"""BERT and DistilBERT of transformers, under the poolings of sentence-transformers."""

import torch
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

import formula

from .case import Case, Run

LENGTHS = [7, 4, 1]
VOCABULARY = 100

BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}

DISTIL_BERT = {
    "vocab_size": VOCABULARY,
    "dim": 48,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 96,
    "max_position_embeddings": 32,
    "activation": "gelu",
    "dropout": 0.0,
    "attention_dropout": 0.0,
}

# In sentence-transformers' words.
MODES = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def batch():
    """Ids are of the formula behind the end of a text, too: what they are must make no difference."""
    shape = (len(LENGTHS), max(LENGTHS))
    ids = torch.from_numpy(formula.whole("ids", shape, VOCABULARY))
    mask = (torch.arange(shape[1]) < torch.tensor(LENGTHS)[:, None]).long()
    return [ids, mask]


def run(mode, dim, unit=False):
    pooling = Pooling(dim, mode)

    def embed(network, ids, mask):
        tokens = network(input_ids=ids, attention_mask=mask).last_hidden_state
        sentence = pooling({"token_embeddings": tokens, "attention_mask": mask})["sentence_embedding"]
        return torch.nn.functional.normalize(sentence) if unit else sentence

    inputs = batch()
    return Run(inputs, embed, told={"ids": inputs[0].tolist(), "lengths": LENGTHS})


CASES = {
    "bert": Case(
        lambda: BertModel(BertConfig(**BERT, attn_implementation="eager"), add_pooling_layer=False),
        {"library": "transformers", "model": "BertModel", "without": "pooler"} | BERT,
        {mode: run(mode, BERT["hidden_size"]) for mode in MODES}
        | {"mean_unit": run("mean", BERT["hidden_size"], unit=True)},
    ),
    "distil_bert": Case(
        lambda: DistilBertModel(DistilBertConfig(**DISTIL_BERT, attn_implementation="eager")),
        {"library": "transformers", "model": "DistilBertModel", "layer_norm_eps": 1e-12} | DISTIL_BERT,
        {mode: run(mode, DISTIL_BERT["dim"]) for mode in ("mean", "cls")},
    ),
}
