//! Golden files: what a reference implementation computed, with its birth certificate.
//!
//! One safetensors file holds several cases. Tensor `CASE/NAME` belongs to case `CASE`, and a name may have more slashes.
//! The file's metadata entry `golden` is a JSON object: `versions` of what made it, and `cases`, which maps each case to
//! its description. `tests/golden/README.md` says which tensors a case has.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::close::to_f64;
use crate::{Error, Result};

/// One case of a golden file: inputs, expected outputs, and the parameters that led from one to the other.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name of the case, unique in its file.
    pub name: String,
    /// What the generator said of it: `params` and more.
    pub description: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Case {
    /// Tensor `name` on the CPU, as stored.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let held: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            self.error(format!("no tensor `{name}`; it has {}", held.join(", ")))
        })
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Integers such as labels, stored as u32.
    ///
    /// # Errors
    /// When there is no such tensor, or it is of another type.
    pub fn labels(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.tensor(name)?.flatten_all()?.to_vec1()?)
    }

    /// Numbers of any type and shape, row by row.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        Ok(to_f64(self.tensor(name)?)?)
    }

    /// The loss's parameters under this project's names, all of them; null where the case has none.
    pub fn params(&self) -> &Value {
        &self.description["params"]
    }

    fn error(&self, what: String) -> Error {
        Error::Golden { path: self.name.clone(), what }
    }
}

/// The file's metadata.
#[derive(serde::Deserialize)]
struct Certificate {
    /// Of the programs that made the file. A file without is refused.
    #[serde(rename = "versions")]
    _versions: BTreeMap<String, String>,
    cases: BTreeMap<String, Value>,
}

/// Reads the cases of a golden file, in alphabetical order.
///
/// # Errors
/// When the file cannot be read, or its tensors and its metadata do not agree.
pub fn load_goldens(path: &Path) -> Result<Vec<Case>> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|what| Error::Golden { path: path.display().to_string(), what })
}

fn parse(bytes: &[u8]) -> std::result::Result<Vec<Case>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let certificate = header.metadata().as_ref().and_then(|metadata| metadata.get("golden"));
    let certificate = certificate.ok_or("the metadata has no entry `golden`")?;
    let Certificate { cases: described, .. } = serde_json::from_str(certificate).map_err(|error| error.to_string())?;

    let mut tensors: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (full, tensor) in candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|e| e.to_string())? {
        let (case, name) = full.split_once('/').ok_or(format!("tensor `{full}` is not named CASE/NAME"))?;
        if !described.contains_key(case) {
            return Err(format!("tensor `{full}` belongs to no described case"));
        }
        tensors.entry(case.to_owned()).or_default().insert(name.to_owned(), tensor);
    }
    let cases = described.into_iter().map(|(name, description)| match tensors.remove(&name) {
        Some(tensors) => Ok(Case { name, description, tensors }),
        None => Err(format!("case `{name}` has no tensors")),
    });
    cases.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    fn file(cases: Option<&str>) -> Vec<u8> {
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (x, value) = (bytes(&[1.0, 2.0]), 0.25f64.to_le_bytes());
        let labels: Vec<u8> = [3u32, 7].iter().flat_map(|label| label.to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let tensors = [
            ("small/embeddings", view(Dtype::F32, &[1, 2], &x)),
            ("small/labels", view(Dtype::U32, &[2], &labels)),
            ("small/value", view(Dtype::F64, &[1], &value)),
        ];
        let metadata = cases.map(|cases| {
            let golden = format!(r#"{{"versions": {{"torch": "2"}}, "cases": {cases}}}"#);
            HashMap::from([("golden".to_owned(), golden)])
        });
        safetensors::serialize(tensors, metadata).unwrap()
    }

    #[test]
    fn a_case_is_read_whole() {
        let cases = parse(&file(Some(r#"{"small": {"params": {"margin": 0.5}}}"#))).unwrap();
        let [case] = &cases[..] else { panic!("one case") };
        assert_eq!((case.name.as_str(), case.params()["margin"].as_f64()), ("small", Some(0.5)));
        assert_eq!(case.labels("labels").unwrap(), [3, 7]);
        assert_eq!(case.numbers("value").unwrap(), [0.25]);
        assert_eq!(case.tensor("embeddings").unwrap().dims(), [1, 2]);
        let message = case.tensor("gradient").unwrap_err().to_string();
        assert!(message.contains("no tensor `gradient`; it has embeddings, labels, value"), "{message}");
    }

    #[test]
    fn a_file_that_disagrees_with_its_description_is_refused() {
        assert!(parse(&file(None)).unwrap_err().contains("no entry `golden`"));
        assert!(parse(&file(Some("{}"))).unwrap_err().contains("belongs to no described case"));
        let extra = parse(&file(Some(r#"{"small": {}, "other": {}}"#))).unwrap_err();
        assert!(extra.contains("case `other` has no tensors"), "{extra}");
        assert!(parse(b"not safetensors").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load_goldens(Path::new("no/such.safetensors")).unwrap_err();
        assert!(error.to_string().contains("no/such.safetensors"), "{error}");
    }
}
