//! Names of published files to names of this crate.

/// Whose names a file has: what is renamed, and what a network without a classifier has no use for.
///
/// Always passed over: `input.` (how a run's images were normalised). In published files also `num_batches_tracked`, and what wraps a
/// whole network: `module.` (PyTorch's `DataParallel`), `_orig_mod.` (`torch.compile`), `model.` and `backbone.` (training programs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// This crate's or published ones: names that the network has are taken as they are; of the others, those that any source below
    /// renames are renamed and those that any drops are dropped.
    #[default]
    Any,
    /// This crate's: nothing is renamed or dropped.
    Own,
    /// torchvision's: `fc.`, `classifier.` and `heads.` are dropped. `head.` too, which is no head of ours. Of vision transformers names
    /// become timm's.
    Torchvision,
    /// timm's, DINO's: `head.`, `head_dist.`, `fc.`, `classifier.`, `last_linear.` are dropped. Of MobileNets and EfficientNet-B0 names
    /// become torchvision's; not of those that timm calls `tf_…`.
    Timm,
    /// DINOv2's own: `register_tokens` are renamed, with their class token's place put into the token; `mask_token` and what
    /// [`Timm`](Self::Timm) drops are dropped.
    Dinov2,
    /// OpenAI's CLIP and open_clip: what begins with `visual.` is a vision transformer, the text tower and the temperature are dropped.
    OpenClip,
    /// transformers', of texts, CLIP's vision tower, ViT, DINO or DINOv2. Of vision transformers names become timm's, queries, keys and values are
    /// put together; `text_model.`, `mask_token` and the temperature are dropped. Of texts: names lose `bert.` or `distilbert.` (and `0.auto_model.`, of old sentence-transformers), `LayerNorm.gamma` and
    /// `LayerNorm.beta` become weight and bias; `pooler.`, `cls.`, `classifier.`, `pre_classifier.`, `qa_outputs.`, `vocab_` and
    /// `position_ids` are dropped. `head.` too.
    HuggingFace,
    /// TensorFlow.js's of Keras' MobileNetV2 and of face-api's and human's networks for faces: names, kernels and norms become ours.
    Tensorflow,
}

/// What a tensor of a file is.
pub(super) enum Fate {
    /// The weight of this name.
    Is(String),
    /// Of no use, and known to be.
    Dropped,
}

const WRAPPERS: [&str; 4] = ["module.", "_orig_mod.", "model.", "backbone."];
const OF_TRANSFORMERS: [&str; 3] = ["bert.", "distilbert.", "0.auto_model."];
const CLASSIFIERS_OF_IMAGES: [&str; 6] = ["fc.", "classifier.", "heads.", "head.", "head_dist.", "last_linear."];
const CLASSIFIERS_OF_TEXTS: [&str; 8] = [
    "pooler.",
    "cls.",
    "classifier.",
    "pre_classifier.",
    "qa_outputs.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
];

impl Names {
    /// What the tensor `name` is for a network that has the weights of which `wanted` is true.
    pub(super) fn fate(self, name: &str, wanted: impl Fn(&str) -> bool) -> Fate {
        if name.starts_with("input.") {
            return Fate::Dropped;
        }
        if self == Self::Own {
            return Fate::Is(name.to_owned());
        }
        let name = unwrapped(name, &wanted);
        if self != Self::Any && name.starts_with(crate::weights::HEAD) {
            return Fate::Dropped;
        }
        if wanted(name) {
            return Fate::Is(name.to_owned());
        }
        let name = if self.of_texts() { modern(name) } else { name.to_owned() };
        let bare = match OF_TRANSFORMERS.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            Some(rest) if self.of_texts() => rest,
            _ => &name,
        };
        if !wanted(bare) && self.drops(bare) { Fate::Dropped } else { Fate::Is(bare.to_owned()) }
    }

    fn of_texts(self) -> bool {
        matches!(self, Self::Any | Self::HuggingFace)
    }

    fn drops(self, name: &str) -> bool {
        let begins = |with: &[&str]| with.iter().any(|prefix| name.starts_with(prefix));
        let last = name.rsplit('.').next().unwrap_or(name);
        last == "num_batches_tracked"
            || (self != Self::HuggingFace && begins(&CLASSIFIERS_OF_IMAGES))
            || (self.of_texts() && (last == "position_ids" || begins(&CLASSIFIERS_OF_TEXTS)))
    }
}

/// `name` without what wraps whole networks.
pub(super) fn unwrapped<'a>(name: &'a str, wanted: &impl Fn(&str) -> bool) -> &'a str {
    let mut bare = name;
    while let Some(rest) = WRAPPERS.iter().find_map(|prefix| bare.strip_prefix(prefix)) {
        if wanted(bare) {
            return bare;
        }
        bare = rest;
    }
    bare
}

/// The name that transformers gives what it once called otherwise.
fn modern(name: &str) -> String {
    for (old, new) in [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")] {
        if let Some(owner) = name.strip_suffix(old) {
            return format!("{owner}{new}");
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(names: Names, name: &str, wanted: &[&str]) -> Option<String> {
        match names.fate(name, |name| wanted.contains(&name)) {
            Fate::Is(name) => Some(name),
            Fate::Dropped => None,
        }
    }

    #[test]
    fn names_are_what_the_network_calls_them() {
        let wanted =
            ["conv1.weight", "head.weight", "embeddings.LayerNorm.weight", "encoder.layer.0.output.dense.bias"];
        let is = |names, name| fate(names, name, &wanted);
        for (name, to) in [
            ("conv1.weight", Some("conv1.weight")),
            ("module.conv1.weight", Some("conv1.weight")),
            ("_orig_mod.module.conv1.weight", Some("conv1.weight")),
            ("module.backbone.conv1.weight", Some("conv1.weight")),
            ("model.fc.weight", None),
            ("bert.embeddings.LayerNorm.gamma", Some("embeddings.LayerNorm.weight")),
            ("module.bert.encoder.layer.0.output.dense.bias", Some("encoder.layer.0.output.dense.bias")),
            ("head.weight", Some("head.weight")),
            ("head.bias", None),
            ("fc.bias", None),
            ("bert.pooler.dense.bias", None),
            ("embeddings.position_ids", None),
            ("bn1.num_batches_tracked", None),
            ("cls.predictions.bias", None),
            ("input.mean", None),
            ("conv2.weight", Some("conv2.weight")),
        ] {
            assert_eq!(is(Names::Any, name).as_deref(), to, "{name}");
        }
        // A published classifier is no head of ours, whatever its shape.
        for names in [Names::Torchvision, Names::Timm, Names::HuggingFace] {
            assert_eq!(is(names, "head.weight"), None);
        }
        assert_eq!(is(Names::Own, "fc.bias").as_deref(), Some("fc.bias"));
        assert_eq!(is(Names::Torchvision, "bert.conv1.weight").as_deref(), Some("bert.conv1.weight"));
    }

    #[test]
    fn what_the_network_has_is_never_dropped() {
        assert_eq!(fate(Names::Any, "fc.weight", &["fc.weight"]).as_deref(), Some("fc.weight"));
        assert_eq!(fate(Names::Timm, "fc.weight", &["fc.weight"]).as_deref(), Some("fc.weight"));
        assert_eq!(fate(Names::Any, "module.x", &["module.x"]).as_deref(), Some("module.x"));
    }
}
