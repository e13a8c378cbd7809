//! Recognition, 1:K with "none of them": who of K enrolled identities is this, or is it a stranger?
//!
//! Some images of each of K identities are enrolled: the gallery. Other images of them are *mated* probes, images of
//! anybody else *non-mated* ones. At threshold t
//!
//! * FPIR(t) = share of non-mated probes whose best identity scores t or better: false alarms;
//! * TPIR(t, r) = share of mated probes whose own identity is among the best r **and** scores t or better.
//!
//! TPIR@FPIR=f is taken at the loosest threshold with FPIR ≤ f. At rank 1 it is what others call DIR@FAR=f (detection
//! and identification rate). Without a threshold it is closed-set identification: the share whose identity is among the
//! best r, also CMC(r), rank-r rate. Grother, Ngan & Hanaoka, *Face Recognition Vendor Test, Part 2: Identification*,
//! NISTIR 8271.
//!
//! FPIR grows with K: a number without K, the numbers of probes and of random galleries says nothing, so all are
//! reported.
//!
//! * [`recognition()`]: random galleries from a labelled set; [`recognition_with`]: galleries and probes that are
//!   given.
//! * [`open_set()`]: with the threshold chosen on other classes.
//! * [`ProbeScores`]: everything from scores.

mod calibrated;
mod closed_set;
mod open_set;
mod probes;
mod protocol;
mod recognition;
mod template;

pub use calibrated::{OpenSet, OpenSetProtocol, open_set};
pub use open_set::OpenSetPoint;
pub(crate) use open_set::check_rate;
pub use probes::{MatedProbe, ProbeScores};
pub use protocol::{Enrolment, EnrolmentProtocol};
pub use recognition::{
    OverDraws, RankRate, Recognition, RecognitionOptions, TpirAtFpir, recognition, recognition_with,
};
pub use template::Templates;
