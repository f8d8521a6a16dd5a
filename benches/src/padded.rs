//! A peer that takes padded batches, tried with every batch size, and with several streams where it has threads for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::batching::{PaddedBatch, batch_sizes, batches, scatter};
use crate::worker::{Run, Strategy};

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

/// The batch sizes at which a model is worth trying: all for one stream; with more, those that give each some work.
pub fn sizes(count: usize, streams: usize) -> Vec<usize> {
    batch_sizes(count).into_iter().filter(|size| count.div_ceil(*size) >= streams).collect()
}

/// Whether a mask is needed for batches of this size.
pub fn needs_mask(sequences: &[Vec<u32>], size: usize) -> bool {
    !batches(sequences, size).iter().all(PaddedBatch::uniform)
}

/// A strategy's name.
pub fn name(variant: &str, size: usize, streams: usize) -> String {
    let parallel = if streams > 1 { format!(", {streams} streams") } else { String::new() };
    let comma = if variant.is_empty() { "" } else { ", " };
    format!("{variant}{comma}batch {size}{parallel}")
}

/// The strategy of embedding `sequences` in batches of `size`.
pub fn strategy<M: PaddedModel>(
    variant: &str,
    model: Arc<M>,
    sequences: &[Vec<u32>],
    size: usize,
    dim: usize,
) -> Result<Strategy> {
    let work = batches(sequences, size)
        .into_iter()
        .map(|batch| Ok((model.prepare(&batch)?, batch)))
        .collect::<Result<Vec<_>>>()?;
    let name = name(variant, size, model.streams());
    let run: Run = Box::new(move |out: &mut [f32]| {
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
    });
    Ok(Strategy { name, run })
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
