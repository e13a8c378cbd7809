//! Backbones and embedding heads: inputs to embeddings
