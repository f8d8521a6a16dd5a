//! Weights as PyTorch, its C++ library and NumPy save them, and in several files: read as they were meant, or refused with a reason.

use std::path::{Path, PathBuf};

use loquat_runtime::Weights;
use proptest::prelude::*;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/torch")
}

fn open(path: PathBuf) -> Weights {
    Weights::open(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn assert_equal(found: &Weights, expected: &Weights, name: &str) {
    let names = |weights: &Weights| weights.names().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{name}");
    for (found, expected) in found.iter().zip(expected.iter()) {
        assert_eq!((found.dtype, found.shape), (expected.dtype, expected.shape), "{name}: {}", found.name);
        assert!(found.bytes == expected.bytes, "{name}: {}", found.name);
    }
}

#[test]
fn every_format_reads_as_the_same_tensors() {
    let expected = open(goldens().join("expected.safetensors"));
    for format in ["zip", "legacy", "parameters", "ot", "npz"] {
        assert_equal(&open(goldens().join(format)), &expected, format);
    }
    assert_equal(&open(goldens().join("half")), &open(goldens().join("half/expected.safetensors")), "half");
    for format in ["sharded-safetensors", "sharded-bin"] {
        let found = open(goldens().join(format));
        assert_eq!(found.names().count() + 1, expected.names().count(), "all but the part");
        for tensor in found.iter() {
            let expected = expected.get(tensor.name).unwrap();
            assert_eq!((tensor.dtype, tensor.shape, tensor.bytes), (expected.dtype, expected.shape, expected.bytes));
        }
    }
}

/// The formats of one file, and what it is called in a model folder.
const FILES: [(&str, &str); 4] =
    [("zip", "pytorch_model.bin"), ("legacy", "pytorch_model.bin"), ("ot", "rust_model.ot"), ("npz", "model.npz")];

fn bytes(format: &str) -> Vec<u8> {
    let (_, file) = FILES.into_iter().find(|(known, _)| *known == format).expect("a known format");
    std::fs::read(goldens().join(format).join(file)).unwrap()
}

fn message(bytes: Vec<u8>) -> String {
    message_of("damaged.bin", bytes)
}

fn message_of(name: &str, bytes: Vec<u8>) -> String {
    Weights::from_vec(name, bytes).expect_err("it should be refused").to_string()
}

/// Every tensor lies in the file; that is all that can be said of a file that was changed.
fn read(bytes: Vec<u8>) {
    if let Ok(weights) = Weights::from_vec("damaged.bin", bytes) {
        for tensor in weights.iter() {
            assert_eq!(tensor.bytes.len(), tensor.shape.iter().product::<usize>() * tensor.dtype.size());
        }
    }
}

#[test]
fn files_that_are_cut_are_refused() {
    for (format, file) in FILES {
        let whole = bytes(format);
        for len in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let error = message_of(file, whole[..len].to_vec());
            assert!(error.contains(file), "{format} cut to {len}: {error}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(message_of(file, longer).contains(file), "{format} with a byte more");
    }
}

#[test]
fn a_folder_gives_the_first_of_its_weights() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("several-formats");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let error = Weights::open(&folder).expect_err("there are none").to_string();
    // The last one first, so that each goes before those that are there.
    for (format, file) in [("npz", "model.npz"), ("ot", "rust_model.ot"), ("zip", "pytorch_model.bin")] {
        assert!(error.contains(file), "{file}: {error}");
        std::fs::write(folder.join(file), bytes(format)).unwrap();
        assert!(open(folder.clone()).files().ends_with(file), "{file}");
    }
}

/// Replaces the only place where `from` stands in the first or last part of a file.
fn replaced(mut file: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = file.windows(from.len()).position(|window| window == from).expect("it is there");
    file.splice(at..at + from.len(), to.iter().copied());
    file
}

#[test]
fn pickles_that_name_what_they_should_not_are_refused() {
    // As many bytes, so that nothing else of the archive changes.
    for format in ["zip", "legacy", "ot"] {
        let file =
            replaced(bytes(format), b"torch._utils\n_rebuild_tensor_v2\n", b"os\nsystem_which_is_called_here_\n");
        let error = message(file);
        assert!(error.contains("\"os\"") && error.contains("system"), "{format}: {error}");
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let file = bytes("zip");
    let end = file.len() - 22;
    let directory = u32::from_le_bytes(file[end + 16..end + 20].try_into().unwrap()) as usize;
    let cases: [(&str, usize, &[u8], &str); 7] = [
        ("compressed", directory + 10, &[8, 0], "another name or method"),
        ("encrypted", directory + 8, &[1], "encrypted"),
        ("another packed size", directory + 20, &[1], "compressed"),
        ("an entry beyond the end", directory + 24, &[255, 255, 255, 127], ""),
        ("an entry that starts elsewhere", directory + 42, &[1], "the header of the entry"),
        ("more entries", end + 8, &[255, 0, 255, 0], ""),
        ("a directory elsewhere", end + 16, &[0, 0, 0, 0], "directory"),
    ];
    for (what, at, value, expected) in cases {
        let mut file = file.clone();
        file[at..at + value.len()].copy_from_slice(value);
        let error = message(file);
        assert!(error.contains(expected) && error.contains("damaged.bin"), "{what}: {error}");
    }
}

#[test]
fn compressed_entries_may_be_there_but_not_be_read() {
    // The first entry holds the values of a tensor.
    for (format, file, expected) in
        [("ot", "rust_model.ot", "compressed"), ("npz", "model.npz", "save the arrays with np.savez")]
    {
        let mut file_bytes = bytes(format);
        let end = file_bytes.len() - 22;
        let directory = u32::from_le_bytes(file_bytes[end + 16..end + 20].try_into().unwrap()) as usize;
        (file_bytes[8], file_bytes[directory + 10]) = (8, 8);
        let error = message_of(file, file_bytes);
        assert!(error.contains(expected) && error.contains("is compressed"), "{format}: {error}");
    }
    let error = Weights::open(goldens().join("npz-compressed")).expect_err("it is compressed").to_string();
    assert!(error.contains("model.npz") && error.contains("bias.npy is compressed"), "{error}");
}

#[test]
fn sizes_that_an_entry_contradicts_are_refused() {
    // The field for large numbers of the first entry follows its name: two numbers of 16 bits, then its size.
    let mut file = bytes("npz");
    let name_len = usize::from(u16::from_le_bytes([file[26], file[27]]));
    let size = 30 + name_len + 4;
    file[size] ^= 1;
    let error = message_of("model.npz", file);
    assert!(error.contains("by its own header"), "{error}");
}

#[test]
fn modules_that_name_or_repeat_what_they_should_not_are_refused() {
    let cases: [(&[u8], &[u8], &str); 4] = [
        (b"__torch__\nModule\n", b"__torch__\nAnyone\n", "\"__torch__\" \"Anyone\""),
        (b"__torch__\nModule\n", b"__main__.\nModule\n", "\"__main__.\" \"Module\""),
        (b")\x81}(", b")R}(", "a call of Module"),
        // The same name once in LibTorch's spelling, once in PyTorch's, in place of the other layer's.
        (b"layer|1|output|dense|bias", b"layer.0|output|dense|bias", "are the same tensor's"),
    ];
    for (from, to, expected) in cases {
        let error = message_of("rust_model.ot", replaced(bytes("ot"), from, to));
        assert!(error.contains(expected) && error.contains("rust_model.ot"), "{expected}: {error}");
    }
}

#[test]
fn arrays_that_mean_something_else_are_refused_by_name() {
    let name = "bert.embeddings.word_embeddings.weight";
    let header = "{'descr': '<f4', 'fortran_order': False, ";
    let cases = [
        (header, "{'descr': '>f4', 'fortran_order': False, ", "big-endian"),
        (header, "{'descr': '|O8', 'fortran_order': False, ", "found '|O8'"),
        (header, "{'descr': '<f2', 'fortran_order': False, ", "bytes for F16"),
        (header, "{'descr': '<f4', 'fortran_order': True,  ", "Fortran order"),
        (header, "{'descr': '<f4', 'fortran_order': False; ", "expected '}', found ';'"),
        ("\u{1}\0v\0{", "\u{4}\0v\0{", "version 4.0"),
    ];
    for (from, to, expected) in cases {
        let error = message_of("model.npz", replaced(bytes("npz"), from.as_bytes(), to.as_bytes()));
        assert!(error.contains(expected) && error.contains(name), "{expected}: {error}");
    }
    let mixed = replaced(bytes("ot"), b"rust_model/version", b"rust_model/vrs.npy");
    let mixed = message_of("rust_model.ot", replaced(mixed, b"rust_model/version", b"rust_model/vrs.npy"));
    assert!(mixed.contains("both a data.pkl and .npy files"), "{mixed}");
}

#[test]
fn files_of_unknown_content_are_refused_as_what_they_are_called() {
    for (file, expected) in
        [("a.npz", "NumPy"), ("a.ot", "PyTorch"), ("a.bin", "PyTorch"), ("a.safetensors", "safetensors")]
    {
        let error = message_of(file, b"neither of them".to_vec());
        assert!(error.contains(file) && error.contains(expected), "{error}");
    }
    // An archive without entries.
    let mut empty = b"PK\x05\x06".to_vec();
    empty.extend([0; 18]);
    assert!(message_of("a.npz", empty.clone()).contains("holds no .npy file"));
    assert!(message_of("a.ot", empty).contains("holds no data.pkl"));
}

#[test]
fn a_tensor_beyond_its_storage_is_refused_by_name() {
    // The first tensor's size follows its storage: `K` and the count as one byte, in a tuple.
    let file = bytes("zip");
    let weights = Weights::from_vec("whole.bin", file.clone()).unwrap();
    let vector = weights.iter().find(|tensor| tensor.shape.len() == 1 && tensor.shape[0] == 18).unwrap();
    let pattern = [b'K', 0, b'K', 18, 0x85];
    let error = message(replaced(file, &pattern, &[b'K', 0, b'K', 19, 0x85]));
    assert!(error.contains("beyond its end") && error.contains("tensor \""), "{}: {error}", vector.name);
}

fn copy(name: &str, of: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(goldens().join(of)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn indexes_that_miss_repeat_or_leave_the_folder_are_refused() {
    let index_of = |folder: &Path| folder.join("model.safetensors.index.json");
    let golden = std::fs::read_to_string(index_of(&goldens().join("sharded-safetensors"))).unwrap();
    let name = "bert.embeddings.word_embeddings.weight";
    let files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let entry = |name: &str, file: &str| format!("\"{name}\": \"{file}\"");
    let listed = files.iter().find(|file| golden.contains(&entry(name, file))).unwrap();
    let other = files.iter().find(|file| *file != listed).unwrap();
    let cases = [
        ("missing-tensor", entry(name, listed), entry("no.such.tensor", listed), vec![name, "doesn't list"]),
        ("wrong-file", entry(name, listed), entry(name, other), vec![name, "lists tensor", "holds one of that name"]),
        (
            "one-more",
            "\"weight_map\": {".into(),
            format!("\"weight_map\": {{ {},", entry("no.such.tensor", listed)),
            vec!["no.such.tensor", "doesn't hold it"],
        ),
        ("missing-file", listed.to_string(), "gone.safetensors".into(), vec!["gone.safetensors"]),
        ("outside", listed.to_string(), "../model.safetensors".into(), vec!["isn't the name of a file beside it"]),
        ("no-map", "\"weight_map\"".into(), "\"weights\"".into(), vec!["weight_map"]),
    ];
    for (name, from, to, parts) in cases {
        let folder = copy(&format!("index-{name}"), "sharded-safetensors");
        std::fs::write(index_of(&folder), golden.replace(&from, &to)).unwrap();
        let error = Weights::open(&folder).expect_err(name).to_string();
        for part in parts {
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}

proptest! {
    #[test]
    fn damage_never_panics(format in 0usize..4, at in any::<prop::sample::Index>(), value: u8, more in any::<prop::sample::Index>()) {
        let mut file = bytes(FILES[format].0);
        let at = at.index(file.len());
        file[at] = value;
        let more = more.index(file.len());
        file[more] = file[more].wrapping_add(1);
        read(file);
    }

    /// Most of a file is values; what describes them is hit more often here.
    #[test]
    fn damage_to_what_describes_the_tensors_never_panics(at in 0usize..6000, value: u8, from_end in 0usize..4000, other: u8) {
        for (format, _) in FILES {
            let mut file = bytes(format);
            let len = file.len();
            file[at.min(len - 1)] = value;
            file[len - 1 - from_end.min(len - 1)] = other;
            read(file);
        }
    }
}
