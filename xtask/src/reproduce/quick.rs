//! A recipe in a few steps, by which the way is tried.

/// The changes that make a recipe, after those of `set`, one of `steps` steps. `dml train` refuses what would come later than the
/// last step: it comes within them.
pub(crate) fn changes(recipe: &toml::Table, set: &[String], steps: u64) -> Vec<String> {
    let within = [("train.validate_every", steps), ("schedule.warmup_steps", steps / 2), ("warm_up.steps", steps / 2)];
    let late = within.into_iter().filter(|&(key, most)| number(recipe, set, key).is_some_and(|value| value > most));
    let all = std::iter::once(("train.steps", steps)).chain(late);
    all.map(|(key, value)| format!("{key}={value}")).collect()
}

/// The whole number that a recipe has at `key` after the changes of `set`.
fn number(recipe: &toml::Table, set: &[String], key: &str) -> Option<u64> {
    let mut changes = set.iter().rev().filter_map(|change| change.split_once('='));
    if let Some((_, value)) = changes.find(|(of, _)| of.trim() == key) {
        return value.trim().parse().ok();
    }
    let (section, key) = key.split_once('.')?;
    u64::try_from(recipe.get(section)?.get(key)?.as_integer()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_come_after_the_last_step_comes_before() {
        let recipe = "[train]\nsteps = 100\nvalidate_every = 25\n[schedule]\nwarmup_steps = 2\n";
        let recipe: toml::Table = toml::from_str(recipe).unwrap();
        let of = |set: &[&str]| changes(&recipe, &set.iter().map(|&change| change.to_owned()).collect::<Vec<_>>(), 5);
        assert_eq!(of(&[]), ["train.steps=5", "train.validate_every=5"]);
        assert_eq!(of(&["train.validate_every=4"]), ["train.steps=5"]);
        assert_eq!(
            of(&["train.validate_every=0", "schedule.warmup_steps=3", "warm_up.steps=1", "warm_up.steps = 50"]),
            ["train.steps=5", "schedule.warmup_steps=2", "warm_up.steps=2"]
        );
    }
}
