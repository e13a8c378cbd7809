//! The formula of weights gives the numbers that its twin in Python gives.

mod formula;

use serde_json::Value;

fn values(told: &Value) -> Vec<f32> {
    told.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

#[test]
fn the_formula_is_its_twins() {
    let told = formula::Case::load("formula").0;
    for (name, uniform) in told["uniform"].as_object().unwrap() {
        assert_eq!(formula::uniform(name, 4), values(uniform), "{name}");
    }
    let ids: Vec<u32> = serde_json::from_value(told["ids"].clone()).unwrap();
    assert_eq!(formula::whole("ids", ids.len(), 100), ids);
    let shape: Vec<usize> = serde_json::from_value(told["shape"].clone()).unwrap();
    for (kind, numbers) in told["layer.weight"].as_object().unwrap() {
        let tensor = formula::tensor("layer.weight", &shape, &kind.as_str().into(), 3.0, 0.0);
        assert_eq!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values(numbers), "{kind}");
    }
}
