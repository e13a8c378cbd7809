//! Which rows of a large set are drawn.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Rows of a class that are drawn, if it has them, however many classes there are.
const OF_A_CLASS: usize = 30;

/// Rows to draw of a set with these labels, `most` at most, in ascending order: all where there are no more.
///
/// Otherwise classes come in random order, whole while they fit, so that a map of many small classes shows whether they hang
/// together; rows drawn at random from all would leave one of each. A class that is larger than `most / classes` and than 30
/// gives so many of its rows, drawn at random. Classes of one row come last.
pub fn map_rows(labels: &[u32], most: usize, seed: u64) -> Vec<u32> {
    if labels.len() <= most {
        return (0..labels.len() as u32).collect();
    }
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (row, &label) in labels.iter().enumerate() {
        members.entry(label).or_default().push(row as u32);
    }
    let of_a_class = (most / members.len()).max(OF_A_CLASS).min(most);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut classes: Vec<Vec<u32>> = members.into_values().collect();
    classes.shuffle(&mut random);
    classes.sort_by_key(|rows| rows.len() < 2);
    let mut chosen = Vec::with_capacity(most);
    for mut rows in classes {
        let (drawn, _) = rows.partial_shuffle(&mut random, of_a_class);
        if chosen.len() + drawn.len() <= most {
            chosen.extend_from_slice(drawn);
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows drawn of each class that has any.
    fn counts(labels: &[u32], rows: &[u32]) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        rows.iter().for_each(|&row| *counts.entry(labels[row as usize]).or_default() += 1);
        counts
    }

    #[test]
    fn small_sets_are_drawn_whole() {
        assert_eq!(map_rows(&[3, 3, 1], 3, 0), [0, 1, 2]);
        assert!(map_rows(&[], 3, 0).is_empty());
    }

    #[test]
    fn small_classes_stay_whole_and_lone_rows_come_last() {
        // 400 classes of 5 and 400 rows alone.
        let labels: Vec<u32> = (0..2000).map(|i| i / 5).chain(1000..1400).collect();
        let rows = map_rows(&labels, 600, 7);
        assert_eq!(rows.len(), 600);
        assert!(rows.is_sorted() && rows.iter().all(|&row| row < 2000));
        assert_eq!(counts(&labels, &rows).len(), 120);
        assert!(counts(&labels, &rows).values().all(|&n| n == 5));
        assert_eq!(rows, map_rows(&labels, 600, 7));
        assert_ne!(rows, map_rows(&labels, 600, 8));
    }

    #[test]
    fn large_classes_share_the_map() {
        let labels: Vec<u32> = (0..10_000).map(|i| i % 10).collect();
        let rows = map_rows(&labels, 3000, 0);
        assert!(counts(&labels, &rows).values().all(|&n| n == 300) && rows.len() == 3000);
        // Of 1000 classes of 100 some are shown, 30 of each; and a budget below 30 is kept to.
        let labels: Vec<u32> = (0..100_000).map(|i| i % 1000).collect();
        assert!(counts(&labels, &map_rows(&labels, 3000, 0)).values().eq([30; 100].iter()));
        assert_eq!(map_rows(&labels, 12, 0).len(), 12);
    }
}
