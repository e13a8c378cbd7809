//! What every gallery can do.

use crate::answer::{Candidate, Decision, Identification, Verification};
use crate::calibration::{self, Calibrated, Calibration, CalibrationOptions};
use crate::{Change, Count, Embeddings, Error, Filter, Identity, Metadata, Model, Result, SampleId};
use dml_core::Watch;
use dml_eval::identification::Templates;

/// How a probe is identified.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentifyOptions {
    /// Candidates wanted, 1 or more. Default 5.
    pub k: usize,
    /// The threshold, as scores are reported; `None`, the default: the calibrated one.
    pub threshold: Option<f32>,
    /// Who may be found. Default: everybody. The threshold stays that of the whole gallery.
    pub filter: Filter,
}

impl Default for IdentifyOptions {
    fn default() -> Self {
        Self { k: 5, threshold: None, filter: Filter::everybody() }
    }
}

/// What is called with each identity and its embeddings, `[samples, d]`.
pub type Visit<'a> = &'a mut dyn FnMut(&Identity, &[f32]) -> Result<()>;

/// Identities with samples of each, which can be asked who somebody is. Nothing is trained: an identity is known as soon as it is
/// enrolled, and forgotten as soon as it is removed.
///
/// A back-end brings storage and search; decisions are made here, once. [`conformance`](crate::conformance) checks a back-end.
/// Any number of threads may ask and change at once.
pub trait Gallery: Send + Sync {
    /// Whose embeddings it takes.
    fn model(&self) -> &Model;

    /// What probes are compared with.
    fn templates(&self) -> Templates;

    /// Makes all the changes, in order, or none; once this returns they last. Answers for each change the samples that it added
    /// or took away.
    ///
    /// # Errors
    /// When a name is, or is not, enrolled, where it must not, or must, be; when an embedding is of another model or has no place
    /// among others ([`Embeddings::check`]); when samples have no template (their mean is 0, by cosine); when somebody would be
    /// left without a sample.
    fn apply(&self, changes: &[Change<'_>]) -> Result<Vec<Vec<SampleId>>>;

    /// How many identities and samples there are, of those asked for.
    ///
    /// # Errors
    /// When the storage fails.
    fn count(&self, filter: &Filter) -> Result<Count>;

    /// Those asked for, in the order in which they were enrolled.
    ///
    /// # Errors
    /// When the storage fails.
    fn list(&self, filter: &Filter) -> Result<Vec<Identity>>;

    /// Somebody, and their embeddings as they were enrolled, `[samples, d]`.
    ///
    /// # Errors
    /// When nobody of this name is enrolled, or the storage fails.
    fn samples(&self, name: &str) -> Result<(Identity, Vec<f32>)>;

    /// Visits everybody in the order in which they were enrolled, as they are at one moment.
    ///
    /// # Errors
    /// When the storage fails, and what the visitor says.
    fn for_each(&self, visit: Visit<'_>) -> Result<()>;

    /// The best `k` identities of each probe, closest first, of those asked for; all of them where there are fewer.
    ///
    /// # Errors
    /// When `k` is 0, or as [`Embeddings::check`].
    fn nearest(&self, probes: Embeddings<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Candidate>>>;

    /// The score of each probe with the identity of the name beside it, by the best of its templates.
    ///
    /// # Errors
    /// When names are not one per probe or not enrolled, or as [`Embeddings::check`].
    fn scores(&self, probes: Embeddings<'_>, names: &[&str]) -> Result<Vec<f32>>;

    /// What decisions are made by.
    ///
    /// # Errors
    /// When the storage fails.
    fn calibration(&self) -> Result<Option<Calibration>>;

    /// Keeps a calibration, or none.
    ///
    /// # Errors
    /// When the storage fails.
    fn set_calibration(&self, calibration: Option<&Calibration>) -> Result<()>;

    /// Makes anew what lies beside the gallery and has gone stale by changes, if anything; whether it did. That is the approximate
    /// index of a file, which a removal erases and which those who are enrolled later are not in. It may take long, and the
    /// gallery can be used meanwhile: call it after changes, from a thread of its own where others wait.
    ///
    /// `watch` is told how much is done, and can break off.
    ///
    /// # Errors
    /// When somebody is changed or removed meanwhile, or the storage fails. Searches are exact then.
    fn refresh(&self, watch: Watch<'_>) -> Result<bool> {
        let _ = watch;
        Ok(false)
    }

    /// Enrols somebody; answers their samples.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn enrol(&self, name: &str, embeddings: Embeddings<'_>, metadata: Metadata) -> Result<Vec<SampleId>> {
        self.apply(&[Change::Enrol { name, embeddings, metadata }]).map(first)
    }

    /// Adds samples of somebody; answers them.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn add_samples(&self, name: &str, embeddings: Embeddings<'_>) -> Result<Vec<SampleId>> {
        self.apply(&[Change::AddSamples { name, embeddings }]).map(first)
    }

    /// Forgets samples of somebody.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn remove_samples(&self, name: &str, samples: &[SampleId]) -> Result<()> {
        self.apply(&[Change::RemoveSamples { name, samples }]).map(drop)
    }

    /// Forgets identities, all or none.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn remove(&self, names: &[&str]) -> Result<()> {
        self.apply(&names.iter().map(|&name| Change::Remove { name }).collect::<Vec<_>>()).map(drop)
    }

    /// Are these who they say? One name per probe. The threshold is the one given, or the calibrated one.
    ///
    /// # Errors
    /// As [`scores`](Self::scores), and when the threshold is not a number.
    fn verify(&self, probes: Embeddings<'_>, names: &[&str], threshold: Option<f32>) -> Result<Vec<Verification>> {
        let calibrated = self.calibration()?.map(|calibration| calibration.verification);
        let judge = Judge::new(self.model(), threshold, calibrated, 0)?;
        let answer = |(name, score): (&&str, f32)| Verification {
            name: (*name).to_owned(),
            score,
            decision: judge.decide(Some(score)),
            threshold: judge.threshold,
            probability: judge.probability(score),
            warnings: judge.warnings.clone(),
        };
        Ok(names.iter().zip(self.scores(probes, names)?).map(answer).collect())
    }

    /// Who are these, if anybody?
    ///
    /// # Errors
    /// As [`nearest`](Self::nearest), and when the threshold is not a number.
    fn identify(&self, probes: Embeddings<'_>, options: &IdentifyOptions) -> Result<Vec<Identification>> {
        if options.k == 0 {
            return Err(Error::Input("0 candidates were asked for: want 1 or more".to_owned()));
        }
        let calibrated = self.calibration()?.map(|calibration| calibration.identification);
        let here = self.count(&Filter::everybody())?.identities;
        let judge = Judge::new(self.model(), options.threshold, calibrated, here)?;
        // The runner-up is wanted, whether or not it is shown.
        let lists = self.nearest(probes, options.k.max(2), &options.filter)?;
        let answer = |mut candidates: Vec<Candidate>| {
            let best = candidates.first().map(|best| best.score);
            let gap = best.zip(candidates.get(1)).map(|(best, second)| (best - second.score).abs());
            candidates.truncate(options.k);
            Identification {
                decision: judge.decide(best),
                candidates,
                threshold: judge.threshold,
                probability: best.and_then(|best| judge.probability(best)),
                gap,
                warnings: judge.warnings.clone(),
            }
        };
        Ok(lists.into_iter().map(answer).collect())
    }

    /// Chooses thresholds and fits probabilities on held-out identities, and keeps them; `labels` says whose each row is. Those
    /// held out must not be enrolled.
    ///
    /// # Errors
    /// When labels are not one per row, there are too few identities or samples to have probes of both kinds, a rate is not
    /// within 0..1, or the storage fails.
    fn calibrate(&self, held_out: Embeddings<'_>, labels: &[u32], options: &CalibrationOptions) -> Result<Calibration> {
        let calibration = calibration::calibrate(self, held_out, labels, options)?;
        self.set_calibration(Some(&calibration))?;
        Ok(calibration)
    }
}

fn first(mut samples: Vec<Vec<SampleId>>) -> Vec<SampleId> {
    samples.pop().unwrap_or_default()
}

/// What scores are judged by.
struct Judge {
    larger_is_closer: bool,
    threshold: Option<f32>,
    calibrated: Option<Calibrated>,
    warnings: Vec<String>,
}

impl Judge {
    fn new(model: &Model, threshold: Option<f32>, calibrated: Option<Calibrated>, identities: usize) -> Result<Self> {
        if threshold.is_some_and(f32::is_nan) {
            return Err(Error::Input(
                "the threshold is not a number: give one, or none to use the calibrated".to_owned(),
            ));
        }
        let warnings = match (threshold, &calibrated) {
            (None, Some(calibrated)) => calibrated.warnings(identities),
            _ => Vec::new(),
        };
        let threshold = threshold.or(calibrated.as_ref().map(|calibrated| calibrated.threshold.threshold));
        Ok(Self { larger_is_closer: model.metric.is_similarity(), threshold, calibrated, warnings })
    }

    fn decide(&self, score: Option<f32>) -> Decision {
        let close = |score: f32, threshold: f32| match self.larger_is_closer {
            true => score >= threshold,
            false => score <= threshold,
        };
        match (score, self.threshold) {
            (None, _) => Decision::Unknown,
            (Some(_), None) => Decision::NoThreshold,
            (Some(score), Some(threshold)) if close(score, threshold) => Decision::Accepted,
            _ => Decision::Unknown,
        }
    }

    fn probability(&self, score: f32) -> Option<f64> {
        self.calibrated.as_ref().map(|calibrated| calibrated.probability(score))
    }
}
