//! A peer that takes padded batches, tried with every batch size, and with several streams where it has threads for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::batching::{PaddedBatch, batch_sizes, batches, scatter};
use crate::worker::Run;

/// A model that embeds one padded batch at a time.
pub trait PaddedModel: Send + Sync + 'static {
    /// A batch in the form that the model takes.
    type Inputs: Send + Sync + 'static;
    /// How many batches it embeds at once; each stream has its share of the threads.
    fn streams(&self) -> usize;
    /// Converts a batch, outside the timed work.
    fn prepare(&self, batch: &PaddedBatch) -> Result<Self::Inputs>;
    /// The batch's embeddings, `[rows, dim]`. No two calls share a stream at a time.
    fn embed(&self, stream: usize, inputs: &Self::Inputs) -> Result<Vec<f32>>;
}

/// One way to cut sequences into padded batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Which form of the model, in a word; empty where there is one.
    pub variant: &'static str,
    /// Sequences in a batch.
    pub size: usize,
    /// Batches that are embedded at once.
    pub streams: usize,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cut { variant, size, streams } = self;
        let comma = if variant.is_empty() { "" } else { ", " };
        write!(f, "{variant}{comma}batch {size}")?;
        if *streams > 1 { write!(f, ", {streams} streams") } else { Ok(()) }
    }
}

impl Cut {
    /// The cuts of `count` sequences worth trying: each batch size as one stream, and as one stream a thread where there is
    /// work for all.
    pub fn all(variants: &[&'static str], count: usize, threads: usize) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for &variant in variants {
            for size in batch_sizes(count) {
                cuts.push(Cut { variant, size, streams: 1 });
                if threads > 1 && count.div_ceil(size) >= threads {
                    cuts.push(Cut { variant, size, streams: threads });
                }
            }
        }
        cuts
    }

    /// Whether any of the batches is padded.
    pub fn needs_mask(&self, sequences: &[Vec<u32>]) -> bool {
        !batches(sequences, self.size).iter().all(PaddedBatch::uniform)
    }

    /// Prepares the batches of `sequences`; `dim` is the length of an embedding.
    pub fn prepare<M: PaddedModel>(&self, model: Arc<M>, sequences: &[Vec<u32>], dim: usize) -> Result<Run> {
        let work = batches(sequences, self.size)
            .into_iter()
            .map(|batch| Ok((model.prepare(&batch)?, batch)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Box::new(move |out: &mut [f32]| {
            if model.streams() == 1 {
                for (inputs, batch) in &work {
                    scatter(batch, &model.embed(0, inputs)?, dim, out);
                }
                return Ok(());
            }
            for (index, values) in in_streams(&*model, &work)? {
                scatter(&work[index].1, &values, dim, out);
            }
            Ok(())
        }))
    }
}

/// Each stream takes the next batch when it is done with one.
fn in_streams<M: PaddedModel>(model: &M, work: &[(M::Inputs, PaddedBatch)]) -> Result<Vec<(usize, Vec<f32>)>> {
    let next = AtomicUsize::new(0);
    let stream = |stream| {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match work.get(index) {
                Some((inputs, _)) => done.push((index, model.embed(stream, inputs)?)),
                None => return Ok(done),
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..model.streams()).map(|number| scope.spawn(move || stream(number))).collect();
        let mut done = stream(0)?;
        for other in others {
            let part: Result<Vec<_>> = other.join().map_err(|_| "a stream's thread panicked")?;
            done.extend(part?);
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_those_worth_trying() {
        let names = |count, threads| Cut::all(&["a"], count, threads).iter().map(Cut::to_string).collect::<Vec<_>>();
        assert_eq!(names(1, 2), ["a, batch 1"]);
        assert_eq!(names(32, 1), ["a, batch 1", "a, batch 8", "a, batch 32"]);
        let two = ["a, batch 1", "a, batch 1, 2 streams", "a, batch 8", "a, batch 8, 2 streams", "a, batch 32"];
        assert_eq!(names(32, 2), two);
    }

    /// Embeds a row as its first id and its length.
    struct Echo(usize);

    impl PaddedModel for Echo {
        type Inputs = PaddedBatch;

        fn streams(&self) -> usize {
            self.0
        }

        fn prepare(&self, batch: &PaddedBatch) -> Result<PaddedBatch> {
            Ok(batch.clone())
        }

        fn embed(&self, _stream: usize, batch: &PaddedBatch) -> Result<Vec<f32>> {
            let rows = batch.ids.chunks(batch.longest).zip(&batch.lengths);
            Ok(rows.flat_map(|(ids, &length)| [ids[0] as f32, length as f32]).collect())
        }
    }

    #[test]
    fn every_cut_gives_the_rows_in_the_order_of_the_request() {
        let sequences: Vec<Vec<u32>> = (0..50).map(|row| vec![row; 1 + (row as usize * 7) % 11]).collect();
        let expected: Vec<f32> = sequences.iter().flat_map(|ids| [ids[0] as f32, ids.len() as f32]).collect();
        for cut in Cut::all(&[""], sequences.len(), 3) {
            let mut run = cut.prepare(Arc::new(Echo(cut.streams)), &sequences, 2).expect("no input is refused");
            let mut out = vec![f32::NAN; expected.len()];
            run(&mut out).expect("nothing fails");
            assert_eq!(out, expected, "{cut}");
        }
    }
}
