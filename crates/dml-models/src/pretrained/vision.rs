//! Vision transformers as others lay them out: names, tensors in thirds, or turned round, or of other ranks.
//!
//! | layout | what is told apart from this crate's, which is timm's |
//! |---|---|
//! | OpenAI's CLIP, open_clip | `visual.`; the projection `[d, out]` is turned; the text tower is dropped |
//! | transformers' CLIP | `vision_model.`; queries, keys and values are put together; the text tower is dropped |
//! | transformers' DINOv2 | `encoder.layer.`; the same; `mask_token` is dropped |
//! | transformers' ViT, DINO | `encoder.layer.`; the same; the pooler is dropped |
//! | torchvision's ViT | `encoder.layers.encoder_layer_`; the classifier is dropped |
//! | DINOv2's own | `mask_token` is dropped |
//!
//! DINOv2 with registers has a place for its class token and none for the registers. Here, as in timm, that place is added to the
//! class token, which is the same. A projection goes where the network has none. transformers' ViT has ε = 1e-12 in its norms and
//! this crate's 1e-6, with which DINO was trained: beside the variances of tokens neither counts.

mod convolutional;

use super::names::{Names, unwrapped};
use crate::Result;
use candle_core::Tensor;
use std::collections::BTreeMap;

const PLACES: &str = "pos_embed";
const CLASS: &str = "cls_token";
const REGISTERS: &str = "reg_token";
const PROJECTION: &str = "projection.weight";

/// How somebody lays out a vision transformer. Names are beginnings of names: what follows stays.
struct Layout {
    /// Whether a file with this name is laid out so.
    marker: &'static str,
    /// Whose it is.
    names: Names,
    /// What may stand before all names.
    before: &'static str,
    outside: &'static [(&'static str, &'static str)],
    /// Before the number of a block.
    blocks: &'static str,
    within: &'static [(&'static str, &'static str)],
    /// Queries, keys and values, in this order, where they are apart.
    thirds: &'static [&'static str],
    dropped: &'static [&'static str],
}

const LAYOUTS: [Layout; 6] = [
    Layout {
        marker: "visual.class_embedding",
        names: Names::OpenClip,
        before: "",
        outside: &[
            ("visual.class_embedding", CLASS),
            ("visual.positional_embedding", PLACES),
            ("visual.conv1.", "patch_embed.proj."),
            ("visual.ln_pre.", "norm_pre."),
            ("visual.ln_post.", "norm."),
            (TURNED, PROJECTION),
        ],
        blocks: "visual.transformer.resblocks.",
        within: &[
            ("attn.in_proj_", "attn.qkv."),
            ("attn.out_proj.", "attn.proj."),
            ("ln_1.", "norm1."),
            ("ln_2.", "norm2."),
            ("mlp.c_fc.", "mlp.fc1."),
            ("mlp.c_proj.", "mlp.fc2."),
        ],
        thirds: &[],
        dropped: &[
            "transformer.",
            "text.",
            "token_embedding.",
            "positional_embedding",
            "ln_final.",
            "text_projection",
            "logit_scale",
            "logit_bias",
            "attn_mask",
            "input_resolution",
            "context_length",
            "vocab_size",
        ],
    },
    Layout {
        marker: "vision_model.embeddings.class_embedding",
        names: Names::HuggingFace,
        before: "",
        outside: &[
            ("vision_model.embeddings.class_embedding", CLASS),
            ("vision_model.embeddings.position_embedding.weight", PLACES),
            ("vision_model.embeddings.patch_embedding.", "patch_embed.proj."),
            // Spelt so.
            ("vision_model.pre_layrnorm.", "norm_pre."),
            ("vision_model.post_layernorm.", "norm."),
            ("visual_projection.", "projection."),
        ],
        blocks: "vision_model.encoder.layers.",
        within: &[
            ("self_attn.out_proj.", "attn.proj."),
            ("layer_norm1.", "norm1."),
            ("layer_norm2.", "norm2."),
            ("mlp.", "mlp."),
        ],
        thirds: &["self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."],
        dropped: &[
            "vision_model.embeddings.position_ids",
            "text_model.",
            "text_projection.",
            "logit_scale",
            "logit_bias",
        ],
    },
    Layout {
        marker: "encoder.layer.0.layer_scale1.lambda1",
        names: Names::HuggingFace,
        before: "dinov2.",
        outside: &[
            ("embeddings.cls_token", CLASS),
            ("embeddings.position_embeddings", PLACES),
            ("embeddings.register_tokens", REGISTERS),
            ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
            ("layernorm.", "norm."),
        ],
        blocks: "encoder.layer.",
        within: &[
            ("attention.output.dense.", "attn.proj."),
            ("norm1.", "norm1."),
            ("norm2.", "norm2."),
            ("layer_scale1.lambda1", "ls1.gamma"),
            ("layer_scale2.lambda1", "ls2.gamma"),
            ("mlp.", "mlp."),
        ],
        thirds: &["attention.attention.query.", "attention.attention.key.", "attention.attention.value."],
        dropped: &["embeddings.mask_token", "classifier."],
    },
    Layout {
        marker: "encoder.layer.0.layernorm_before.weight",
        names: Names::HuggingFace,
        before: "vit.",
        outside: &[
            ("embeddings.cls_token", CLASS),
            ("embeddings.position_embeddings", PLACES),
            ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
            ("layernorm.", "norm."),
        ],
        blocks: "encoder.layer.",
        within: &[
            ("attention.output.dense.", "attn.proj."),
            ("layernorm_before.", "norm1."),
            ("layernorm_after.", "norm2."),
            ("intermediate.dense.", "mlp.fc1."),
            ("output.dense.", "mlp.fc2."),
        ],
        thirds: &["attention.attention.query.", "attention.attention.key.", "attention.attention.value."],
        dropped: &["embeddings.mask_token", "pooler.", "classifier."],
    },
    Layout {
        marker: "encoder.layers.encoder_layer_0.ln_1.weight",
        names: Names::Torchvision,
        before: "",
        outside: &[
            ("class_token", CLASS),
            ("encoder.pos_embedding", PLACES),
            ("conv_proj.", "patch_embed.proj."),
            ("encoder.ln.", "norm."),
        ],
        blocks: "encoder.layers.encoder_layer_",
        within: &[
            ("self_attention.in_proj_", "attn.qkv."),
            ("self_attention.out_proj.", "attn.proj."),
            ("ln_1.", "norm1."),
            ("ln_2.", "norm2."),
            ("mlp.0.", "mlp.fc1."),
            ("mlp.3.", "mlp.fc2."),
            // As torchvision first had them.
            ("mlp.linear_1.", "mlp.fc1."),
            ("mlp.linear_2.", "mlp.fc2."),
        ],
        thirds: &[],
        dropped: &["heads."],
    },
    Layout {
        marker: "mask_token",
        names: Names::Dinov2,
        before: "",
        outside: &[("register_tokens", REGISTERS)],
        blocks: "blocks.",
        within: &[],
        thirds: &[],
        dropped: &["mask_token"],
    },
];

/// The one tensor that others have the other way round.
const TURNED: &str = "visual.proj";

/// What a tensor of a file is.
enum Piece {
    Whole(String),
    /// One of three parts, one below the other.
    Third(String, usize),
    Dropped,
    Unknown,
}

impl Layout {
    fn piece(&self, name: &str) -> Piece {
        let name = name.strip_prefix(self.before).unwrap_or(name);
        let renamed = |name: &str, table: &[(&str, &str)]| {
            table.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", name.strip_prefix(theirs)?)))
        };
        if let Some((block, rest)) = name.strip_prefix(self.blocks).and_then(|rest| rest.split_once('.')) {
            let third = self.thirds.iter().enumerate().find_map(|(k, third)| Some((k, rest.strip_prefix(third)?)));
            if let Some((k, what)) = third {
                return Piece::Third(format!("blocks.{block}.attn.qkv.{what}"), k);
            }
            return renamed(rest, self.within)
                .map_or(Piece::Unknown, |rest| Piece::Whole(format!("blocks.{block}.{rest}")));
        }
        match renamed(name, self.outside) {
            Some(ours) => Piece::Whole(ours),
            None if self.dropped.iter().any(|begin| name.starts_with(begin)) => Piece::Dropped,
            None => Piece::Unknown,
        }
    }
}

/// The tensors of a file as this crate lays them out, and the names of those that are of no use; as they came, if nothing says that
/// they are a network for images of somebody else's. What is not understood keeps its name.
///
/// # Errors
/// When a tensor cannot be made.
pub(super) fn translated(
    tensors: BTreeMap<String, Tensor>,
    names: Names,
    wanted: impl Fn(&str) -> bool,
) -> Result<(BTreeMap<String, Tensor>, Vec<String>)> {
    if !wanted(CLASS) {
        return convolutional::translated(tensors, names, &wanted);
    }
    let has = |marker: &str| tensors.keys().any(|name| unwrapped(name, &|_| false) == marker);
    let fits = |layout: &&Layout| {
        let ours = names == Names::Any || names == layout.names;
        ours && (has(layout.marker) || has(&format!("{}{}", layout.before, layout.marker)))
    };
    let Some(layout) = LAYOUTS.iter().find(fits) else { return Ok((tensors, Vec::new())) };
    let mut ours = BTreeMap::new();
    let mut dropped = Vec::new();
    let mut thirds: BTreeMap<String, [Option<(String, Tensor)>; 3]> = BTreeMap::new();
    for (name, tensor) in tensors {
        let bare = unwrapped(&name, &|_| false);
        match layout.piece(bare) {
            Piece::Dropped => dropped.push(name),
            Piece::Whole(to) if to == PROJECTION && !wanted(PROJECTION) => dropped.push(name),
            Piece::Whole(to) if !ours.contains_key(&to) => {
                let tensor = if bare == TURNED && tensor.rank() == 2 { tensor.t()? } else { tensor };
                let tensor = if to == CLASS || to == PLACES { of_rank_three(tensor)? } else { tensor };
                ours.insert(to, tensor);
            }
            Piece::Third(to, k) => thirds.entry(to).or_default()[k] = Some((name, tensor)),
            Piece::Whole(_) | Piece::Unknown => {
                ours.insert(name, tensor);
            }
        }
    }
    for (to, parts) in thirds {
        let known: Vec<(String, Tensor)> = parts.into_iter().flatten().collect();
        let alike = known.iter().all(|(_, tensor)| tensor.rank() > 0 && tensor.dims() == known[0].1.dims());
        if known.len() == 3 && alike {
            ours.insert(to, Tensor::cat(&known.iter().map(|(_, tensor)| tensor).collect::<Vec<_>>(), 0)?);
        } else {
            ours.extend(known);
        }
    }
    place_of_class(&mut ours)?;
    Ok((ours, dropped))
}

fn of_rank_three(mut tensor: Tensor) -> Result<Tensor> {
    while tensor.rank() < 3 {
        tensor = tensor.unsqueeze(0)?;
    }
    Ok(tensor)
}

/// Of a network with registers, the place of the class token goes into the token.
fn place_of_class(tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let (Some(_), Some(class), Some(places)) = (tensors.get(REGISTERS), tensors.get(CLASS), tensors.get(PLACES)) else {
        return Ok(());
    };
    let (Ok((1, 1, d)), Ok((1, n, e))) = (class.dims3(), places.dims3()) else { return Ok(()) };
    if d != e || n < 2 {
        return Ok(());
    }
    let class = (class + places.narrow(1, 0, 1)?)?;
    let places = places.narrow(1, 1, n - 1)?;
    tensors.insert(CLASS.to_owned(), class);
    tensors.insert(PLACES.to_owned(), places);
    Ok(())
}
