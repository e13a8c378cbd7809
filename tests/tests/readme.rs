//! The README against the code, and the documents against the files.

use std::path::Path;

const README: &str = include_str!("../../README.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// What lies between `start` and the next `end`, for each `start`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| Some(rest.split_once(end)?.0)).collect()
}

#[test]
fn the_losses_are_those_of_the_registry() {
    for loss in dml_losses::LOSSES {
        let row = format!("| `{}` | {} | {} |", loss.name, loss.summary, loss.source);
        assert!(README.contains(&row), "README.md lacks the row\n{row}");
    }
    let section = between(README, "## Losses\n", "\n## ").concat();
    let names: Vec<&str> = between(&section, "\n| `", "` |");
    assert_eq!(names.len(), dml_losses::LOSSES.len(), "README.md has rows of {names:?}");
}

#[test]
fn relative_links_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (document, text) in [("README.md", README), ("ARCHITECTURE.md", ARCHITECTURE)] {
        let links = between(text, "](", ")");
        assert!(!links.is_empty(), "{document} has no link at all: is it read rightly?");
        for link in links.into_iter().filter(|link| !link.contains(':') && !link.starts_with('#')) {
            let path = link.split('#').next().unwrap_or_default();
            assert!(root.join(path).exists(), "{document}: no file for the link {link}");
        }
    }
}

#[test]
fn the_recipe_is_a_recipe() {
    let recipes = between(README, "```toml\n", "```");
    assert!(!recipes.is_empty(), "README.md shows no recipe");
    for text in recipes {
        if let Err(error) = dml_train::Recipe::parse(text, &[]) {
            panic!("README.md: {error}\n{text}");
        }
    }
}
