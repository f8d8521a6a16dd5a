//! What the workers have in common: read the documents, time the encoding of all of them, print a line of JSON.
//!
//!     worker-NAME TOKENIZER DOCUMENTS THREADS PASSES
//!
//! Loading and reading are not timed. The first pass begins with whatever caches there are empty, the others with them warm.
//!
//!     worker-NAME load TOKENIZER REPEATS
//!
//! times loading alone, again and again.

use std::path::Path;
use std::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The ids of all documents, in whatever form the tokenizer gives them.
pub enum Ids {
    Flat(Vec<u32>),
    Lists(Vec<Vec<u32>>),
}

impl Ids {
    fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Ids::Flat(ids) => Box::new(ids.iter().copied()),
            Ids::Lists(lists) => Box::new(lists.iter().flatten().copied()),
        }
    }
}

/// A tokenizer under test.
pub trait Engine: Sized + Sync {
    fn load(file: &Path) -> Result<Self>;

    /// The ids of all texts without special tokens.
    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids>;
}

/// Encodes each text by itself, on several threads.
pub fn one_by_one(
    texts: &[&str],
    threads: usize,
    encode: impl Fn(&str) -> Result<Vec<u32>> + Sync,
) -> Result<Ids> {
    if threads == 1 {
        return Ok(Ids::Lists(texts.iter().map(|text| encode(text)).collect::<Result<_>>()?));
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<u32>)>> {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(text) = texts.get(at) else {
                return Ok(done);
            };
            done.push((at, encode(text)?));
        }
    };
    let mut lists = vec![Vec::new(); texts.len()];
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            for (at, ids) in worker.join().map_err(|_| "a thread panicked")?? {
                lists[at] = ids;
            }
        }
        Ok(())
    })?;
    Ok(Ids::Lists(lists))
}

fn documents(file: &str) -> Result<Vec<String>> {
    let bytes = std::fs::read(file)?;
    let mut rest = &bytes[..];
    let mut texts = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or("a document is cut")?;
        texts.push(String::from_utf8(text.to_vec())?);
        rest = after;
    }
    Ok(texts)
}

/// FNV-1a of all ids.
fn hash(ids: &Ids) -> (usize, u64) {
    let step = |(count, hash): (usize, u64), id: u32| (count + 1, (hash ^ u64::from(id)).wrapping_mul(0x100_0000_01b3));
    ids.iter().fold((0, 0xcbf2_9ce4_8422_2325), step)
}

fn time_loading<E: Engine>(tokenizer: &str, repeats: usize) -> Result<()> {
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        let begin = Instant::now();
        let engine = E::load(Path::new(tokenizer))?;
        seconds.push(begin.elapsed().as_secs_f64());
        drop(engine);
    }
    println!("{}", serde_json::json!({"seconds": seconds}));
    Ok(())
}

/// Does what the arguments say.
pub fn serve<E: Engine>() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (tokenizer, file, threads, passes) = match &arguments[..] {
        [_, command, tokenizer, repeats] if command == "load" => return time_loading::<E>(tokenizer, repeats.parse()?),
        [_, tokenizer, file, threads, passes] => (tokenizer, file, threads, passes),
        _ => return Err("expected TOKENIZER DOCUMENTS THREADS PASSES, or load TOKENIZER REPEATS".into()),
    };
    let (threads, passes): (usize, usize) = (threads.parse()?, passes.parse()?);
    let texts = documents(file)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let begin = Instant::now();
    let engine = E::load(Path::new(tokenizer))?;
    let load = begin.elapsed().as_secs_f64();
    let mut seconds = Vec::new();
    let mut result = (0, 0);
    for _ in 0..passes {
        let begin = Instant::now();
        let ids = engine.encode(&texts, threads)?;
        seconds.push(begin.elapsed().as_secs_f64());
        result = hash(&ids);
    }
    let (tokens, hash) = result;
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    println!(
        "{}",
        serde_json::json!({"load": load, "seconds": seconds, "bytes": bytes, "tokens": tokens, "hash": format!("{hash:016x}")})
    );
    Ok(())
}
