//! What became of each tensor of a file, and of each weight of a network.

use crate::weights::is_of_head;
use std::fmt;

/// What became of each tensor of a file, and of each weight of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Weights of the network that were set, in its order.
    pub loaded: Vec<String>,
    /// Tensors of the file that the network has no use for, and is known to: classifiers, counts of batches, places.
    pub dropped: Vec<String>,
    /// Of those that were set, places of patches that were scaled to the network's pictures.
    pub resampled: Vec<Misshapen>,
    /// Weights of the network's head that stay as they were drawn, because the file has them not.
    pub new: Vec<String>,
    /// Weights of the network that the file has not.
    pub missing: Vec<String>,
    /// Tensors of the file that the network has not, or that came twice.
    pub unexpected: Vec<String>,
    /// Those that both have, in two shapes.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor whose shape is not that of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name in the network.
    pub name: String,
    /// Its shape in the file.
    pub file: Vec<usize>,
    /// Its shape in the network.
    pub network: Vec<usize>,
}

impl Report {
    /// Whether every weight has its tensor and every tensor its weight, but for those that may do without.
    pub fn fits(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }

    fn mend(&self) -> &'static str {
        let head = |name: &String| is_of_head(name);
        if self.unexpected.is_empty() && self.missing.iter().all(head) && self.misshapen.iter().all(|of| head(&of.name))
        {
            return "only the head is another: allow a new one";
        }
        "choose the network and sizes that these weights were made for"
    }
}

/// What became of them by count, and the names of all that were not simply loaded; or what does not fit, and the mend.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fits() {
            let counts = (self.loaded.len(), self.dropped.len(), self.new.len());
            write!(f, "{} loaded, {} dropped, {} new", counts.0, counts.1, counts.2)?;
            for Misshapen { name, file, network } in &self.resampled {
                write!(f, ", {name} scaled from {file:?} to {network:?}")?;
            }
            for (what, names) in [("dropped", &self.dropped), ("new", &self.new)] {
                if !names.is_empty() {
                    write!(f, "; {what}: {}", names.join(", "))?;
                }
            }
            return Ok(());
        }
        let lists = [("missing", &self.missing), ("not in the network", &self.unexpected)];
        for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "{what}: {}; ", names.join(", "))?;
        }
        for Misshapen { name, file, network } in &self.misshapen {
            write!(f, "{name} is {file:?} but the network wants {network:?}; ")?;
        }
        f.write_str(self.mend())
    }
}
