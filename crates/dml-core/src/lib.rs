//! Metrics, score matrices, the row driver and exact top-k of deep metric learning
