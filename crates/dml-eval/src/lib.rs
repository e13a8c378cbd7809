//! Retrieval, verification, identification and few-shot metrics from embeddings, with reports
