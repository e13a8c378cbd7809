//! Names of measures: `FAMILY[@PLACES][:DENOMINATOR]`.

use super::measure::{Denominator, Gain, Ideal, Measure, Window};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

const GRAMMAR: &str = "measures are recall@K, precision@K, precision@K:min, ir-recall@K, r-precision, map, map@r, map@K:min, \
                       mrr, mrr@K, ndcg, ndcg@K, ndcg@K:exp";
const WINDOWS: &str = "want a number of 1 or more, r, r+1 or min(K,r)";
const DENOMINATORS: &str = "want k, r, min, hits or r+1";

impl Measure {
    /// What is divided by unless the name says it. Peers differ for average precision within K: there is no default.
    fn usual_denominator(self) -> Option<Denominator> {
        match self {
            Self::AveragePrecision { within: Window::RAndQuery, .. } => Some(Denominator::RelevantAndQuery),
            Self::AveragePrecision { within: Window::Whole | Window::R, .. } => Some(Denominator::Relevant),
            Self::Hits { .. } => Some(Denominator::Places),
            _ => None,
        }
    }

    /// Refuses what says nothing.
    pub(crate) fn check(self) -> Result<()> {
        let always_one = match self {
            Self::HitRate { within } => within == Window::Whole,
            Self::Hits { within, over } => {
                within == Window::Whole && !matches!(over, Denominator::Places | Denominator::RelevantAndQuery)
            }
            _ => false,
        };
        if always_one {
            return Err(Error::Input(format!(
                "`{self}` of a whole ranking is always 1: say how far to look, as in recall@10"
            )));
        }
        match self.within() {
            Window::First(0) | Window::FirstOfR(0) => {
                Err(Error::Input(format!("`{self}` looks at no place: want K of 1 or more")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = self.within();
        match *self {
            Self::HitRate { .. } => write!(f, "recall{within}"),
            Self::R_PRECISION => f.write_str("r-precision"),
            Self::Hits { over: Denominator::Relevant, .. } => write!(f, "ir-recall{within}"),
            Self::Hits { over, .. } | Self::AveragePrecision { over, .. } => {
                let family = if matches!(self, Self::Hits { .. }) { "precision" } else { "map" };
                match self.usual_denominator() {
                    Some(usual) if usual == over => write!(f, "{family}{within}"),
                    _ => write!(f, "{family}{within}:{over}"),
                }
            }
            Self::ReciprocalRank { .. } => write!(f, "mrr{within}"),
            Self::Ndcg { gain, ideal, .. } => {
                let gain = if gain == Gain::Exponential { ":exp" } else { "" };
                let ideal = if ideal == Ideal::Found { ":found" } else { "" };
                write!(f, "ndcg{within}{gain}{ideal}")
            }
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::First(k) => write!(f, "@{k}"),
            Self::R => f.write_str("@r"),
            Self::RAndQuery => f.write_str("@r+1"),
            Self::FirstOfR(k) => write!(f, "@min({k},r)"),
        }
    }
}

impl fmt::Display for Denominator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Places => "k",
            Self::Relevant => "r",
            Self::Least => "min",
            Self::Hits => "hits",
            Self::RelevantAndQuery => "r+1",
        })
    }
}

impl FromStr for Measure {
    type Err = Error;

    /// Reads a name.
    ///
    /// * families: `recall` (also `hit`, `cmc`, `accuracy`: a hit rate), `precision`, `ir-recall` (over R), `r-precision`,
    ///   `map`, `mrr`, `ndcg`;
    /// * places after `@`: a number, `r`, `r+1`, `min(K,r)`; none: the whole ranking;
    /// * denominator after `:`, for `precision` (default `k`) and `map` (default R; within a number it must be said): `k` the
    ///   places, `r`, `min` of the two, `hits`, `r+1`;
    /// * for `ndcg` after `:` `exp`, gains 2^g − 1, and `found`, the best order of what was found only.
    fn from_str(name: &str) -> Result<Self> {
        let mut parts = name.split(':');
        let (family, within) = match parts.next().unwrap_or_default().split_once('@') {
            Some((family, window)) => (family, window_named(name, window)?),
            None => (name.split(':').next().unwrap_or_default(), Window::Whole),
        };
        let options: Vec<&str> = parts.collect();
        let measure = match family {
            "recall" | "hit" | "cmc" | "accuracy" => Self::HitRate { within },
            "mrr" => Self::ReciprocalRank { within },
            "ir-recall" => Self::Hits { within, over: Denominator::Relevant },
            "r-precision" if within == Window::Whole => Self::R_PRECISION,
            "r-precision" => {
                return Err(Error::Input(format!("`{name}`: R-precision looks at R places, leave out the `@`")));
            }
            "precision" => with_denominator(name, &options, Self::Hits { within, over: Denominator::Places })?,
            "map" => with_denominator(name, &options, Self::AveragePrecision { within, over: Denominator::Relevant })?,
            "ndcg" => ndcg(name, within, &options)?,
            _ => return Err(Error::Input(format!("there is no measure `{name}`: {GRAMMAR}"))),
        };
        if !options.is_empty() && !matches!(family, "precision" | "map" | "ndcg") {
            return Err(Error::Input(format!("`{name}`: {family} takes nothing after a colon")));
        }
        measure.check()?;
        Ok(measure)
    }
}

fn window_named(name: &str, window: &str) -> Result<Window> {
    let wrong = || Error::Input(format!("`{name}` looks at `{window}` places: {WINDOWS}"));
    let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(match window {
        "r" => Window::R,
        "r+1" => Window::RAndQuery,
        _ => match window.strip_prefix("min(").and_then(|rest| rest.strip_suffix(",r)")) {
            Some(k) => Window::FirstOfR(number(k).ok_or_else(wrong)?),
            None => Window::First(number(window).ok_or_else(wrong)?),
        },
    })
}

/// `measure` with the denominator that `options` name, or its usual one.
fn with_denominator(name: &str, options: &[&str], measure: Measure) -> Result<Measure> {
    let named = match options {
        [] => measure.usual_denominator(),
        ["k"] => Some(Denominator::Places),
        ["r"] => Some(Denominator::Relevant),
        ["min"] => Some(Denominator::Least),
        ["hits"] => Some(Denominator::Hits),
        ["r+1"] => Some(Denominator::RelevantAndQuery),
        _ => return Err(Error::Input(format!("`{name}` divides by `{}`: {DENOMINATORS}", options.join(":")))),
    };
    let Some(over) = named else {
        return Err(Error::Input(format!(
            "`{name}` does not say what it divides by, and libraries differ: {name}:r (pytorch-metric-learning), {name}:min \
             (sentence-transformers), {name}:hits (OML, torchmetrics) or {name}:k"
        )));
    };
    Ok(match measure {
        Measure::Hits { within, .. } => Measure::Hits { within, over },
        other => Measure::AveragePrecision { within: other.within(), over },
    })
}

fn ndcg(name: &str, within: Window, options: &[&str]) -> Result<Measure> {
    let (gain, ideal) = match options {
        [] => (Gain::Linear, Ideal::All),
        ["exp"] => (Gain::Exponential, Ideal::All),
        ["found"] => (Gain::Linear, Ideal::Found),
        ["exp", "found"] => (Gain::Exponential, Ideal::Found),
        _ => {
            return Err(Error::Input(format!("`{name}`: want nothing, :exp, :found or :exp:found after ndcg{within}")));
        }
    };
    Ok(Measure::Ndcg { within, gain, ideal })
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.to_string()
    }
}

impl TryFrom<String> for Measure {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}
