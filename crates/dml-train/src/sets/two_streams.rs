//! Sets whose training images are queries or gallery images: a stream of each.

use super::Sets;
use crate::examples::{Examples, Images};
use crate::two_views::QueriesAndGallery;
use crate::{Error, Recipe, Result};
use dml_data::{Inputs, SelectedInputs};
use std::collections::HashSet;
use std::sync::Arc;

/// The queries of `sets`, each with images of its class from the gallery; classes without a query or without an image that could go
/// with it are left out.
pub(super) fn of_roles(sets: Sets, recipe: &Recipe) -> Result<Sets> {
    let set = &recipe.data.set;
    let wrong = |problem: String| Error::Recipe(format!("data.two_streams is set but {problem}"));
    let told = "say of its training images which are queries and which are of the gallery, in the columns is_query and is_gallery of \
                a table";
    let (Some(images), Some(still)) = (sets.train.images(), sets.still.images()) else {
        return Err(wrong(format!("data.set {set:?} holds no images: leave it out")));
    };
    let roles =
        sets.train_roles.as_ref().ok_or_else(|| wrong(format!("data.set {set:?} does not tell them: {told}")))?;
    let mut gallery: Vec<Vec<u32>> = vec![vec![]; images.class_names().len()];
    for (index, &label) in images.labels().iter().enumerate().filter(|(index, _)| roles[*index][1]) {
        gallery[label as usize].push(index as u32);
    }
    let shared: Vec<Arc<Vec<u32>>> = gallery.into_iter().map(Arc::new).collect();
    // An image that is both does not go with itself.
    let of_query = |index: usize| -> Arc<Vec<u32>> {
        let all = &shared[images.labels()[index] as usize];
        match roles[index][1] {
            true => Arc::new(all.iter().copied().filter(|&other| other != index as u32).collect()),
            false => all.clone(),
        }
    };
    let choices: Vec<Arc<Vec<u32>>> = (0..roles.len()).map(of_query).collect();
    let queries = SelectedInputs::of_samples(images.clone(), |index| roles[index][0] && !choices[index].is_empty())
        .map_err(|_| wrong(format!("no class of data.set {set:?} has a query and a gallery image for it: {told}")))?;
    let kept = queries.indices().to_vec();
    let names: HashSet<String> = queries.class_names().iter().cloned().collect();
    // Of the same classes in the same order, so that they have the same numbers.
    let still = SelectedInputs::of_classes(still.clone(), |name| names.contains(name))?;
    let train = QueriesAndGallery {
        choices: Arc::new(kept.iter().map(|&index| choices[index].clone()).collect()),
        gallery: Images(images.clone()),
        queries: Images(Arc::new(queries)),
    };
    let groups = kept.iter().filter_map(|&index| sets.groups.get(index).copied()).collect();
    let still: Arc<dyn Examples> = Arc::new(Images(Arc::new(still)));
    Ok(Sets { train: Arc::new(train), still, groups, two_views: true, ..sets })
}
