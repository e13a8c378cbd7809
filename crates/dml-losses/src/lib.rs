//! Losses, miners, reductions, proxies and memory of deep metric learning, with analytic gradients
