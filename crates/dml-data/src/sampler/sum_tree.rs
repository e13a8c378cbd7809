//! Draws without replacement by weight, each in logarithmic time.

use rand::Rng;

/// A binary tree of sums over weights: node i is the sum of nodes 2i and 2i + 1, leaf j is node n + j.
///
/// Sums are computed anew from their parts, never corrected by differences: a weight that is taken out and put back
/// leaves the tree as it was, bit for bit.
pub(super) struct SumTree {
    nodes: Vec<f64>,
}

impl SumTree {
    /// The tree over `weights`, which are finite and not negative.
    pub(super) fn new(weights: impl ExactSizeIterator<Item = f64>) -> Self {
        let n = weights.len();
        let mut nodes = vec![0.0; n];
        nodes.extend(weights);
        (1..n).rev().for_each(|node| nodes[node] = nodes[2 * node] + nodes[2 * node + 1]);
        Self { nodes }
    }

    /// Sets the weight of `leaf`.
    fn set(&mut self, leaf: usize, weight: f64) {
        let mut node = self.nodes.len() / 2 + leaf;
        self.nodes[node] = weight;
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// A leaf, with the probability of its weight.
    fn draw(&self, rng: &mut impl Rng) -> usize {
        let n = self.nodes.len() / 2;
        let mut rest = rng.random::<f64>() * self.nodes[1];
        let mut node = 1;
        while node < n {
            node *= 2;
            // Rounding must not lead to a side that weighs nothing.
            if rest >= self.nodes[node] && self.nodes[node + 1] > 0.0 {
                rest -= self.nodes[node];
                node += 1;
            }
        }
        node - n
    }

    /// Appends `count` different leaves: each is drawn by its weight among those that are left.
    ///
    /// There must be as many leaves with a weight above 0.
    pub(super) fn draw_different(&mut self, count: usize, rng: &mut impl Rng, into: &mut Vec<u32>) {
        let start = into.len();
        let mut weights = Vec::with_capacity(count);
        for _ in 0..count {
            let leaf = self.draw(rng);
            weights.push(self.nodes[self.nodes.len() / 2 + leaf]);
            into.push(leaf as u32);
            self.set(leaf, 0.0);
        }
        into[start..].iter().zip(weights).for_each(|(&leaf, weight)| self.set(leaf as usize, weight));
    }
}
