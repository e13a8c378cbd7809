//! Batches of text pairs in which no text comes twice.

use super::classes::{check_at_least, check_samples};
use super::random::check_fits;
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::seq::SliceRandom;
use std::collections::VecDeque;

/// No row or text.
const NONE: u32 = u32::MAX;

/// Full batches of rows of texts (pairs, or triplets) in which no text stands in two rows.
///
/// With in-batch negatives, a text that comes twice makes a positive a negative of another row. A row is known by the
/// ids of its texts, in any column: an anchor that is another row's positive counts too, as in sentence-transformers'
/// `NoDuplicatesBatchSampler`. A row may repeat a text within itself.
///
/// The rows of an epoch are shuffled and dealt in this order. A row that shares a text with the batch waits until a batch
/// begins without that text, before rows that have not been looked at. No row comes twice in an epoch. Every batch is
/// full and every epoch has the same number of batches, so that a step has a fixed place in its epoch; what is left
/// after them, other rows in each epoch, is fewer than b + W rows. W is the number of rows that b − 1 rows can keep out
/// of their batch at most: the sum over the columns · (b − 1) most frequent texts of their number of rows, less one each.
/// With no text in two rows W is 0 and only the n mod b rows that fill no batch are left.
#[derive(Debug, Clone)]
pub struct NoDuplicatesSampler {
    /// The texts of each row, `columns` each, numbered from 0 without gaps.
    texts: Vec<u32>,
    columns: usize,
    number_of_texts: usize,
    batch: usize,
    batches: usize,
    seed: u64,
}

impl NoDuplicatesSampler {
    /// A sampler over `rows` of text ids (equal texts have equal ids) in batches of `batch` rows.
    ///
    /// # Errors
    /// When `batch` < 2, there are fewer rows than that, or so many rows share texts that no full batch can be promised.
    pub fn new<const COLUMNS: usize>(rows: &[[u32; COLUMNS]], batch: usize, seed: u64) -> Result<Self> {
        check_samples(rows.len())?;
        check_at_least("text columns", COLUMNS, 1, "a row has no texts")?;
        check_at_least("sampler.batch", batch, 2, "a batch of one row has no negatives")?;
        check_fits(batch, rows.len())?;
        let mut ids: Vec<u32> = rows.iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let number = |text: &u32| ids.binary_search(text).unwrap_or_default() as u32;
        let texts: Vec<u32> = rows.iter().flatten().map(number).collect();

        let mut others = vec![0usize; ids.len()];
        for row in texts.chunks_exact(COLUMNS) {
            let first_time = |&column: &usize| !row[..column].contains(&row[column]);
            (0..COLUMNS).filter(first_time).for_each(|column| others[row[column] as usize] += 1);
        }
        others.iter_mut().for_each(|rows| *rows -= 1);
        let most_common = others.iter().copied().max().unwrap_or(0) + 1;
        others.sort_unstable_by(|a, b| b.cmp(a));
        // A batch that is not full finds no row only when those left, at most `kept_out`, share texts with its own.
        let kept_out = |batch: usize| others.iter().take(COLUMNS * (batch - 1)).sum::<usize>();
        let full = |batch: usize| rows.len().saturating_sub(kept_out(batch)) / batch;
        let batches = full(batch);
        if batches == 0 {
            let mend = match (2..batch).rev().find(|&smaller| full(smaller) > 0) {
                Some(smaller) => format!("lower sampler.batch to {smaller} or less, or give more rows"),
                None => "give more rows or fewer repeated texts".into(),
            };
            return Err(Error::Sampler(format!(
                "sampler.batch = {batch} rows without a common text cannot be promised: of {} rows, up to {} share a text \
                 with others (the most common text is in {most_common}); {mend}",
                rows.len(),
                kept_out(batch)
            )));
        }
        Ok(Self { texts, columns: COLUMNS, number_of_texts: ids.len(), batch, batches, seed })
    }

    /// The texts of `row`.
    fn row(&self, row: u32) -> &[u32] {
        &self.texts[row as usize * self.columns..][..self.columns]
    }
}

/// Rows that wait, each for one text to be out of the batch.
struct Waiting {
    /// The row that waits longest for a text, and the one that came last.
    first: Vec<u32>,
    last: Vec<u32>,
    /// The row that waits behind a row.
    next: Vec<u32>,
    /// Texts with waiting rows, the longest untried first.
    queue: VecDeque<u32>,
    queued: Vec<bool>,
}

impl Waiting {
    fn push(&mut self, row: u32, text: u32) {
        let at = text as usize;
        self.next[row as usize] = NONE;
        match self.first[at] {
            NONE => self.first[at] = row,
            _ => self.next[self.last[at] as usize] = row,
        }
        self.last[at] = row;
        self.enqueue(text);
    }

    fn pop(&mut self, text: u32) -> Option<u32> {
        let row = self.first[text as usize];
        (row != NONE).then(|| {
            self.first[text as usize] = self.next[row as usize];
            row
        })
    }

    fn enqueue(&mut self, text: u32) {
        if !self.queued[text as usize] && self.first[text as usize] != NONE {
            self.queued[text as usize] = true;
            self.queue.push_back(text);
        }
    }
}

impl BatchSampler for NoDuplicatesSampler {
    fn batches_per_epoch(&self) -> usize {
        self.batches
    }

    fn plan(&self, epoch: u64) -> Plan {
        let rows = self.texts.len() / self.columns;
        let mut deck: Vec<u32> = (0..rows as u32).collect();
        deck.shuffle(&mut stream(self.seed, Purpose::Deal, (epoch, 0)));
        let mut deck = deck.into_iter();
        let mut waiting = Waiting {
            first: vec![NONE; self.number_of_texts],
            last: vec![NONE; self.number_of_texts],
            next: vec![NONE; rows],
            queue: VecDeque::new(),
            queued: vec![false; self.number_of_texts],
        };
        let mut last_batch = vec![NONE; self.number_of_texts];
        let mut plan = Plan::with_capacity(self.batches, self.batches * self.batch);
        for number in 0..self.batches as u32 {
            let mut room = self.batch;
            // Deals the row, or says which of its texts the batch holds.
            let mut deal = |row: u32, room: &mut usize| {
                let texts = self.row(row);
                let held = texts.iter().copied().find(|&text| last_batch[text as usize] == number);
                if held.is_none() {
                    texts.iter().for_each(|&text| last_batch[text as usize] = number);
                    plan.open().push(row);
                    *room -= 1;
                }
                held
            };
            // Texts that join the queue now are held by the batch: their turn is the next one.
            for _ in 0..waiting.queue.len() {
                if room == 0 {
                    break;
                }
                let Some(text) = waiting.queue.pop_front() else { break };
                waiting.queued[text as usize] = false;
                while let Some(row) = waiting.pop(text) {
                    match deal(row, &mut room) {
                        Some(held) if held != text => waiting.push(row, held),
                        Some(_) => {
                            // The batch holds the text itself, so all its rows go on waiting, this one in front.
                            waiting.next[row as usize] = waiting.first[text as usize];
                            waiting.first[text as usize] = row;
                            break;
                        }
                        None => break,
                    }
                }
                waiting.enqueue(text);
            }
            while room > 0 {
                let Some(row) = deck.next() else { break };
                if let Some(held) = deal(row, &mut room) {
                    waiting.push(row, held);
                }
            }
            plan.end_batch();
        }
        plan
    }
}
