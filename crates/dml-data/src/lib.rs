//! Data sets, manifests, splits, P×K samplers, augmentation and an ordered prefetching loader
