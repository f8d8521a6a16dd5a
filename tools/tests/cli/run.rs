//! Running the built binary.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `loquat` with nothing on stdin.
pub fn loquat<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    loquat_with_stdin(arguments, b"")
}

/// Runs `loquat` with `stdin`.
pub fn loquat_with_stdin<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>, stdin: &[u8]) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_loquat")).args(arguments), stdin)
}

/// Runs `loquat` at a forced instruction-set level.
pub fn loquat_at_level(level: &str, arguments: &[&str]) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_loquat")).args(arguments).env("LOQUAT_CPU", level), b"")
}

fn run(command: &mut Command, stdin: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    let stdin = stdin.to_vec();
    // From another thread, since the child may fill its output pipes before it has read everything; it may also stop reading.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().expect("the child can be waited for");
    writer.join().expect("writing doesn't panic");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

impl Run {
    /// Asserts success and silence on stderr.
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert_eq!(self.stderr, "", "stdout: {}", self.stdout);
        self
    }

    /// Asserts exit 1, and that stderr is one message which holds each of `parts`; nothing of a panic.
    #[track_caller]
    pub fn fails_with(self, parts: &[&str]) -> Run {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert!(self.stderr.starts_with("loquat: "), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in the message: {}", self.stderr);
        }
        self
    }

    /// Asserts exit 2 and a message on stderr which holds each of `parts`.
    #[track_caller]
    pub fn misused(self, parts: &[&str]) -> Run {
        assert_eq!(self.code, Some(2), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in the message: {}", self.stderr);
        }
        self
    }

    /// stdout as JSON lines.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// A JSON array of numbers.
#[track_caller]
pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// The path of a folder for one test, empty.
pub fn scratch(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}
