//! How long model folders take until they are ready to run. The folders take turns, so that they meet the same machine.
//!
//!     cargo run --release -p loquat --example load_time -- MODEL_FOLDER [MODEL_FOLDER ...]

use std::time::{Duration, Instant};

use loquat::{Encoder, Error};

const RUNS: usize = 7;

fn main() -> Result<(), Error> {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let mut times = vec![[Duration::ZERO; RUNS]; folders.len()];
    // The first load of each folder brings its files into memory.
    for folder in &folders {
        Encoder::builder().model(folder.as_str()).build()?;
    }
    for run in 0..RUNS {
        for (folder, times) in folders.iter().zip(&mut times) {
            let start = Instant::now();
            let encoder = Encoder::builder().model(folder.as_str()).build()?;
            times[run] = start.elapsed();
            drop(encoder);
        }
    }
    for (folder, times) in folders.iter().zip(&mut times) {
        times.sort();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!("{folder}: min {:.1} ms, median {:.1} ms", millis(times[0]), millis(times[RUNS / 2]));
    }
    Ok(())
}
