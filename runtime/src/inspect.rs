//! What became of a model on its way to being run, for people to read.

use std::fmt;

use crate::{
    cpu::Program,
    graph::{Graph, Rows},
    passes::Report,
};

/// The graph as the model built it, or as a pass left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The pass, or `None` for the graph as it was built.
    pub pass: Option<&'static str>,
    /// What the pass did.
    pub report: Report,
    /// The graph afterwards.
    pub graph: Graph,
}

/// What became of a graph, where its values lie and which kernels run it. `Display` prints all of it.
#[derive(Clone, Copy, Debug)]
pub struct Inspection<'a> {
    pub(crate) program: &'a Program,
    pub(crate) stages: &'a [Stage],
    pub(crate) files: &'a str,
    pub(crate) threads: usize,
}

impl<'a> Inspection<'a> {
    /// The graph as it was built, and after each pass.
    pub fn stages(&self) -> &'a [Stage] {
        self.stages
    }

    /// The graph that runs.
    pub fn graph(&self) -> Option<&'a Graph> {
        self.stages.last().map(|stage| &stage.graph)
    }

    /// The program.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// The files that the weights are in, separated by commas.
    pub fn files(&self) -> &'a str {
        self.files
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl fmt::Display for Inspection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "weights    {}", self.files)?;
        writeln!(f, "level      {}, {} threads", self.program.cpu().level(), self.threads)?;
        let mut previous: Option<&Graph> = None;
        for stage in self.stages {
            match stage.pass {
                None => writeln!(f, "\n== graph as built: {} nodes", stage.graph.nodes().len())?,
                Some(pass) => writeln!(
                    f,
                    "\n== {pass}: applied {}, refused {}, {} nodes left",
                    stage.report.applied.len(),
                    stage.report.refused.len(),
                    stage.graph.nodes().len()
                )?,
            }
            for name in &stage.report.applied {
                writeln!(f, "applied {name}")?;
            }
            for refusal in &stage.report.refused {
                writeln!(f, "refused {}: {}", refusal.node, refusal.why)?;
            }
            if previous != Some(&stage.graph) {
                write!(f, "{}", stage.graph)?;
            }
            previous = Some(&stage.graph);
        }
        self.write_plan(f)?;
        writeln!(f, "\n== kernels")?;
        for (index, (name, kernel)) in self.program.steps().enumerate() {
            writeln!(f, "{index:>4}  {kernel:<48} {name}")?;
        }
        let unused = self.program.unused_tensors();
        writeln!(f, "\n== tensors without use: {}", unused.len())?;
        for name in unused {
            writeln!(f, "{name}")?;
        }
        Ok(())
    }
}

impl Inspection<'_> {
    fn write_plan(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.program.plan();
        let (tokens, sequences) = plan.unshared();
        writeln!(
            f,
            "\n== memory: {} bytes per token ({} without sharing), {} per sequence ({} without), {} bytes of packed weights",
            4 * plan.per_token(),
            4 * tokens,
            4 * plan.per_sequence(),
            4 * sequences,
            self.program.packed_bytes()
        )?;
        for (index, buffer) in plan.buffers().iter().enumerate() {
            let rows = match buffer.rows {
                Rows::Tokens => "token",
                Rows::Sequences => "sequence",
            };
            writeln!(
                f,
                "buffer {index:<3} bytes {}..{} per {rows}, nodes %{}..=%{}",
                4 * buffer.offset,
                4 * (buffer.offset + buffer.row_stride),
                buffer.live.start,
                buffer.live.end - 1
            )?;
        }
        Ok(())
    }
}
