//! What every back-end must do. Its tests call [`check`]; galleries that pass give identical decisions, and scores that agree
//! with plain `f64` loops.

use crate::{
    Candidate, Change, Count, Decision, Embeddings, Error, Filter, Gallery, IdentifyOptions, Identity, MemoryGallery,
    Metadata, Model, Result, Templates,
};
use dml_core::{Matrix, Metric, reference};

/// Makes an empty gallery.
pub type Make<'a> = &'a dyn Fn(Model, Templates) -> Result<Box<dyn Gallery>>;

/// What a back-end did wrong.
#[derive(Debug, thiserror::Error)]
#[error("{metric}, {templates:?}: {what}")]
pub struct Failure {
    /// Of the gallery that failed.
    pub metric: Metric,
    /// Of the gallery that failed.
    pub templates: Templates,
    /// What it did, and what it should have done.
    pub what: String,
}

type Checked = std::result::Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($what:tt)*) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($what)*));
        }
    };
}

/// Length of the suite's embeddings.
const DIM: usize = 12;
/// Identities, each with one to four samples.
const IDENTITIES: usize = 30;

/// Runs the suite on galleries that `make` makes, over metrics and templates.
///
/// # Errors
/// Says the first thing that went wrong.
pub fn check(make: Make<'_>) -> std::result::Result<(), Failure> {
    for metric in [Metric::Cosine, Metric::Dot, Metric::Euclidean, Metric::SquaredEuclidean, Metric::Lp(1.0)] {
        for templates in [Templates::PerImage, Templates::Mean, Templates::Medoid] {
            check_one(make, metric, templates)?;
        }
    }
    Ok(())
}

/// Runs the suite for one metric and one kind of templates: for a back-end that has not all metrics, or whose answers take long
/// and are better waited for side by side.
///
/// # Errors
/// Says the first thing that went wrong.
pub fn check_one(make: Make<'_>, metric: Metric, templates: Templates) -> std::result::Result<(), Failure> {
    let suite = Suite { metric, templates, make };
    suite.run().map_err(|what| Failure { metric, templates, what })
}

struct Suite<'a> {
    metric: Metric,
    templates: Templates,
    make: Make<'a>,
}

/// Numbers that hang on nothing but `seed`: no two of them alike, so that no scores tie.
fn values(seed: usize, rows: usize) -> Vec<f32> {
    (0..rows * DIM)
        .map(|i| {
            let mut z = (seed as u64) << 32 | i as u64;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ z >> 31) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn matrix(values: &[f32]) -> std::result::Result<Matrix<'_>, String> {
    Matrix::new(values, values.len() / DIM, DIM).map_err(|error| error.to_string())
}

fn said<T>(what: &str) -> impl FnOnce(Error) -> std::result::Result<T, String> + '_ {
    move |error| Err(format!("{what} was refused: {error}"))
}

fn name(i: usize) -> String {
    format!("person {i:02} ü")
}

fn samples_of(i: usize) -> Vec<f32> {
    values(i + 1, 1 + i % 4)
}

fn metadata(i: usize) -> Metadata {
    let site = ["north", "south", "west"][i % 3];
    [("site", site), ("even", if i.is_multiple_of(2) { "yes" } else { "no" })]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

impl Suite<'_> {
    fn run(&self) -> Checked {
        self.empty()?;
        self.answers_are_those_of_plain_loops()?;
        self.removal_and_samples()?;
        self.refusals_change_nothing()?;
        self.exports_come_back()
    }

    fn model(&self) -> Model {
        Model {
            weights_sha256: Some("00ff".to_owned()),
            dim: DIM,
            metric: self.metric,
            preprocessing: "none".to_owned(),
        }
    }

    fn gallery(&self) -> std::result::Result<Box<dyn Gallery>, String> {
        (self.make)(self.model(), self.templates).or_else(said("making a gallery"))
    }

    /// Enrols identities of the suite, all at once.
    fn enrol(&self, gallery: &dyn Gallery, who: &[usize]) -> Checked {
        let model = self.model();
        let names: Vec<String> = who.iter().map(|&i| name(i)).collect();
        let values: Vec<Vec<f32>> = who.iter().map(|&i| samples_of(i)).collect();
        let mut changes = Vec::new();
        for ((name, values), &i) in names.iter().zip(&values).zip(who) {
            let embeddings = Embeddings::new(&model, matrix(values)?);
            changes.push(Change::Enrol { name, embeddings, metadata: metadata(i) });
        }
        gallery.apply(&changes).map(drop).or_else(said("enrolment"))
    }

    fn full(&self) -> std::result::Result<Box<dyn Gallery>, String> {
        let gallery = self.gallery()?;
        self.enrol(&*gallery, &(0..IDENTITIES).collect::<Vec<_>>())?;
        Ok(gallery)
    }

    fn empty(&self) -> Checked {
        let (gallery, model, probe) = (self.gallery()?, self.model(), values(99, 1));
        ensure!(gallery.model() == &model && gallery.templates() == self.templates, "it forgot what it was made for");
        ensure!(
            matches!(gallery.count(&Filter::everybody()), Ok(Count { identities: 0, samples: 0 })),
            "an empty gallery counts"
        );
        let answers = gallery.identify(Embeddings::new(&model, matrix(&probe)?), &IdentifyOptions::default());
        let answers = answers.or_else(said("a probe of an empty gallery"))?;
        ensure!(answers.len() == 1 && answers[0].decision == Decision::Unknown, "an empty gallery knows somebody");
        ensure!(matches!(gallery.calibration(), Ok(None)), "a new gallery is calibrated");
        Ok(())
    }

    /// Score of a probe with somebody's samples, in `f64`.
    fn score(&self, probe: &[f32], samples: &[f32]) -> f64 {
        let all: Vec<usize> = (0..samples.len() / DIM).collect();
        let Ok(x) = matrix(samples) else { return f64::NAN };
        let rows = self.templates.of_rows(self.metric, x, &all);
        let scores = rows.chunks_exact(DIM).map(|row| reference::score(self.metric, probe, row));
        scores.reduce(|a, b| if self.metric.sign() * a <= self.metric.sign() * b { a } else { b }).unwrap_or(f64::NAN)
    }

    /// Identities by plain loops, closest first.
    fn expected(&self, probe: &[f32], who: &mut dyn Iterator<Item = usize>) -> Vec<(String, f64)> {
        let mut all: Vec<(String, f64)> = who.map(|i| (name(i), self.score(probe, &samples_of(i)))).collect();
        all.sort_by(|a, b| (self.metric.sign() * a.1).total_cmp(&(self.metric.sign() * b.1)));
        all
    }

    fn compare(&self, found: &[Candidate], expected: &[(String, f64)]) -> Checked {
        let names = |c: &[Candidate]| c.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let wanted: Vec<String> = expected.iter().map(|(name, _)| name.clone()).collect();
        ensure!(names(found) == wanted, "found {:?}, plain loops find {wanted:?}", names(found));
        for (candidate, (_, score)) in found.iter().zip(expected) {
            let near = (f64::from(candidate.score) - score).abs() <= 1e-5 * (1.0 + score.abs());
            ensure!(near, "{} scores {}, by plain loops {score}", candidate.name, candidate.score);
        }
        Ok(())
    }

    fn answers_are_those_of_plain_loops(&self) -> Checked {
        let (gallery, model) = (self.full()?, self.model());
        let probes = values(1000, 7);
        let embeddings = Embeddings::new(&model, matrix(&probes)?);
        let site = Filter::everybody().with("site", "north").with("site", "west").with("even", "no");
        for (filter, admits) in [(Filter::everybody(), None), (site, Some(()))] {
            let asked = |i: &usize| admits.is_none() || (i % 3 != 1 && i % 2 == 1);
            let admitted = (0..IDENTITIES).filter(asked).count();
            let count = gallery.count(&filter).or_else(said("counting"))?;
            ensure!(count.identities == admitted, "{count:?} pass a filter that {admitted} should");
            for k in [1, 3, IDENTITIES, 3 * IDENTITIES] {
                let found = gallery.nearest(embeddings, k, &filter).or_else(said("a search"))?;
                ensure!(found.len() == 7, "{} answers to 7 probes", found.len());
                for (probe, found) in probes.chunks_exact(DIM).zip(&found) {
                    let mut expected = self.expected(probe, &mut (0..IDENTITIES).filter(asked));
                    expected.truncate(k);
                    self.compare(found, &expected)?;
                }
            }
        }
        // One at a time and together, memory and this: the same bits.
        let together = gallery.nearest(embeddings, 4, &Filter::everybody()).or_else(said("a search"))?;
        let memory = MemoryGallery::new(self.model(), self.templates).or_else(said("making a gallery in memory"))?;
        self.enrol(&memory, &(0..IDENTITIES).collect::<Vec<_>>())?;
        ensure!(
            memory.nearest(embeddings, 4, &Filter::everybody()).is_ok_and(|m| m == together),
            "memory answers differently"
        );
        for (probe, found) in probes.chunks_exact(DIM).zip(&together) {
            let alone = gallery.nearest(Embeddings::new(&model, matrix(probe)?), 4, &Filter::everybody());
            ensure!(alone.is_ok_and(|alone| alone[0] == *found), "a probe alone is answered differently");
            let names: Vec<&str> = found.iter().map(|candidate| candidate.name.as_str()).collect();
            let claims = vec![probe; names.len()].concat();
            let scores =
                gallery.scores(Embeddings::new(&model, matrix(&claims)?), &names).or_else(said("verification"))?;
            let same = scores.iter().zip(found).all(|(score, candidate)| *score == candidate.score);
            ensure!(same, "verification scores {scores:?}, identification {found:?}");
            self.decisions(&*gallery, probe, found)?;
        }
        Ok(())
    }

    /// At a threshold between the best and the second: accepted; closer than the best: unknown.
    fn decisions(&self, gallery: &dyn Gallery, probe: &[f32], found: &[Candidate]) -> Checked {
        let model = self.model();
        let (best, second) = (found[0].score, found[1].score);
        let closer = best - self.metric.sign() as f32 * (best - second).abs();
        for (threshold, decision) in [
            (Some(0.5 * (best + second)), Decision::Accepted),
            (Some(best), Decision::Accepted),
            (Some(closer), Decision::Unknown),
            (None, Decision::NoThreshold),
        ] {
            let options = IdentifyOptions { k: 1, threshold, ..IdentifyOptions::default() };
            let embeddings = Embeddings::new(&model, matrix(probe)?);
            let answer = gallery.identify(embeddings, &options).or_else(said("identification"))?;
            let [answer] = &answer[..] else { return Err(format!("{} answers to a probe", answer.len())) };
            ensure!(answer.decision == decision, "best {best}, threshold {threshold:?}: {:?}", answer.decision);
            ensure!(answer.candidates.len() == 1 && answer.threshold == threshold, "{answer:?}");
            ensure!(answer.gap == Some((best - second).abs()), "gap {:?} of {best} and {second}", answer.gap);
            let said_yes = answer.accepted().is_some_and(|who| who.name == found[0].name);
            ensure!(said_yes == (decision == Decision::Accepted), "{answer:?}");
            let verified = gallery.verify(embeddings, &[&found[0].name], threshold).or_else(said("verification"))?;
            ensure!(verified[0].decision == decision && verified[0].score == best, "{verified:?}");
        }
        Ok(())
    }

    fn removal_and_samples(&self) -> Checked {
        let (gallery, model) = (self.full()?, self.model());
        // Some go, one of them comes back as somebody new, and one gets other samples.
        let gone: Vec<String> = (0..IDENTITIES).filter(|i| i % 5 == 0).map(name).collect();
        gallery.remove(&gone.iter().map(String::as_str).collect::<Vec<_>>()).or_else(said("removal"))?;
        let there: Vec<usize> = (0..IDENTITIES).filter(|i| i % 5 != 0).collect();
        let probes = values(2000, 3);
        let embeddings = Embeddings::new(&model, matrix(&probes)?);
        let found = gallery.nearest(embeddings, IDENTITIES, &Filter::everybody()).or_else(said("a search"))?;
        for (probe, found) in probes.chunks_exact(DIM).zip(&found) {
            self.compare(found, &self.expected(probe, &mut there.iter().copied()))?;
        }
        let refused = gallery.scores(Embeddings::new(&model, matrix(&probes[..DIM])?), &[&gone[0]]);
        ensure!(matches!(refused, Err(Error::NotEnrolled(_))), "somebody removed is verified: {refused:?}");
        self.enrol(&*gallery, &[5])?;
        let more = values(3000, 2);
        let added = gallery.add_samples(&name(1), Embeddings::new(&model, matrix(&more)?)).or_else(said("a sample"))?;
        let (who, all) = gallery.samples(&name(1)).or_else(said("asking for samples"))?;
        ensure!(all == [samples_of(1), more].concat() && who.samples.ends_with(&added) && added.len() == 2, "{who:?}");
        let old = who.samples[..2].to_vec();
        gallery.remove_samples(&name(1), &old).or_else(said("removal of samples"))?;
        let probe = Embeddings::new(&model, matrix(&probes[..DIM])?);
        let score = gallery.scores(probe, &[&name(1)]).or_else(said("verification"))?[0];
        let expected = self.score(&probes[..DIM], &values(3000, 2));
        ensure!(
            (f64::from(score) - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{score} after other samples, not {expected}"
        );
        let all = gallery.list(&Filter::everybody()).or_else(said("listing"))?;
        let mut ids: Vec<u64> = all.iter().flat_map(|who| who.samples.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let count = gallery.count(&Filter::everybody()).or_else(said("counting"))?;
        ensure!(
            count == Count { identities: all.len(), samples: ids.len() } && all.len() == there.len() + 1,
            "{count:?}"
        );
        ensure!(all.last().is_some_and(|who| who.name == name(5)), "who came back is not the last in the list");
        // Removed and enrolled again in one step.
        let new = values(4000, 1);
        let embeddings = Embeddings::new(&model, matrix(&new)?);
        let again = [
            Change::Remove { name: &name(2) },
            Change::Enrol { name: &name(2), embeddings, metadata: Metadata::new() },
        ];
        gallery.apply(&again).or_else(said("an exchange"))?;
        ensure!(gallery.samples(&name(2)).is_ok_and(|(_, values)| values == new), "an exchange kept the old samples");
        Ok(())
    }

    fn refusals_change_nothing(&self) -> Checked {
        let (gallery, model) = (self.full()?, self.model());
        let before = everything(&*gallery)?;
        let (good, other_name) = (values(5000, 1), "somebody else");
        let mut broken = good.clone();
        broken[3] = f32::NAN;
        let short = Model { dim: DIM - 1, ..self.model() };
        let stranger = Model { weights_sha256: Some("ff00".to_owned()), ..self.model() };
        let otherwise = Model { preprocessing: "flipped".to_owned(), ..self.model() };
        let narrow = Matrix::new(&good[..DIM - 1], 1, DIM - 1).map_err(|error| error.to_string())?;
        let empty = Matrix::new(&[], 0, DIM).map_err(|error| error.to_string())?;
        let known = name(3);
        let (_, ids) = (0, gallery.samples(&known).or_else(said("asking for samples"))?.0.samples);
        let enrol = |name, embeddings| Change::Enrol { name, embeddings, metadata: Metadata::new() };
        let mut refused: Vec<(&str, Change<'_>)> = vec![
            ("NaN", enrol(other_name, Embeddings::new(&model, matrix(&broken)?))),
            ("another length", enrol(other_name, Embeddings::new(&short, narrow))),
            ("a length that the model has not", enrol(other_name, Embeddings::new(&model, narrow))),
            ("other weights", enrol(other_name, Embeddings::new(&stranger, matrix(&good)?))),
            ("other preprocessing", enrol(other_name, Embeddings::new(&otherwise, matrix(&good)?))),
            ("no sample", enrol(other_name, Embeddings::new(&model, empty))),
            ("no name", enrol("", Embeddings::new(&model, matrix(&good)?))),
            ("somebody who is there", enrol(&known, Embeddings::new(&model, matrix(&good)?))),
            (
                "samples of nobody",
                Change::AddSamples { name: other_name, embeddings: Embeddings::new(&model, matrix(&good)?) },
            ),
            ("removal of nobody", Change::Remove { name: other_name }),
            ("removal of all samples", Change::RemoveSamples { name: &known, samples: &ids }),
            ("removal of no sample of theirs", Change::RemoveSamples { name: &known, samples: &[u64::MAX] }),
        ];
        let zeros = vec![0.0; DIM];
        if self.metric == Metric::Cosine {
            refused.push(("zeros", enrol(other_name, Embeddings::new(&model, matrix(&zeros)?))));
        }
        for (what, change) in refused {
            // What comes before the refused change is not made, either.
            let first = Change::Enrol {
                name: "before",
                embeddings: Embeddings::new(&model, matrix(&good)?),
                metadata: Metadata::new(),
            };
            ensure!(gallery.apply(&[first, change]).is_err(), "{what} was taken");
            ensure!(everything(&*gallery)? == before, "{what} was refused, but something changed");
        }
        for (what, probe) in [
            ("NaN", Embeddings::new(&model, matrix(&broken)?)),
            ("other weights", Embeddings::new(&stranger, matrix(&good)?)),
        ] {
            ensure!(gallery.nearest(probe, 1, &Filter::everybody()).is_err(), "a probe of {what} was identified");
            ensure!(gallery.scores(probe, &[&known]).is_err(), "a probe of {what} was verified");
        }
        let probe = Embeddings::new(&model, matrix(&good)?);
        ensure!(gallery.nearest(probe, 0, &Filter::everybody()).is_err(), "0 candidates were found");
        ensure!(
            gallery.scores(probe, &[]).is_err() && gallery.scores(probe, &[other_name]).is_err(),
            "nobody was verified"
        );
        Ok(())
    }

    fn exports_come_back(&self) -> Checked {
        let gallery = self.full()?;
        gallery.remove(&[&name(4)]).or_else(said("removal"))?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let there = folder.path().join("export");
        crate::export(&*gallery, &there).or_else(said("an export"))?;
        ensure!(crate::export(&*gallery, &there).is_err(), "an export was written over another");
        let again = self.gallery()?;
        crate::import(&*again, &there).or_else(said("an import"))?;
        let without_ids = |all: Vec<(Identity, Vec<f32>)>| -> Vec<_> {
            all.into_iter().map(|(who, values)| (who.name, who.metadata, values)).collect()
        };
        let (before, after) = (everything(&*gallery)?, everything(&*again)?);
        ensure!(without_ids(before) == without_ids(after.clone()), "an export does not come back");
        ensure!(crate::import(&*again, &there).is_err(), "everybody was enrolled twice");
        ensure!(everything(&*again)? == after, "an import was refused, but something changed");
        Ok(())
    }
}

fn everything(gallery: &dyn Gallery) -> std::result::Result<Vec<(Identity, Vec<f32>)>, String> {
    let mut all = Vec::new();
    let visited = gallery.for_each(&mut |identity, values| {
        all.push((identity.clone(), values.to_vec()));
        Ok(())
    });
    visited.or_else(said("visiting everybody"))?;
    Ok(all)
}
