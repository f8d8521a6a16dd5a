//! A model ready to run on one level of CPU.

use std::sync::Arc;

use loquat_kernels::{Cpu, Exec, KernelError, PackedRhs};

use super::{
    Arena,
    check::{IndexLimits, RunError},
    memory::Memory,
    record::Recorder,
    step::Step,
};
use crate::{
    batch::BatchView,
    graph::{Leading, Rows, Shape},
    plan::Plan,
    weights::{Weights, WeightsError},
};

/// Steps over one arena, with the weights packed for the CPU level that they run at.
///
/// A program is immutable; every concurrent run brings its own [`Arena`].
#[derive(Debug)]
pub struct Program {
    cpu: Cpu,
    weights: Arc<Weights>,
    steps: Vec<Step>,
    plan: Plan,
    outputs: Vec<(String, Shape)>,
    limits: IndexLimits,
    leading: Option<Leading>,
    unused: Vec<String>,
}

/// Why a graph has no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The weights don't fit the graph.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A packed weight doesn't fit in memory.
    #[error("packing the weights: {0}")]
    Pack(#[from] KernelError),
}

impl Program {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn from_parts(
        cpu: Cpu,
        weights: Arc<Weights>,
        steps: Vec<Step>,
        plan: Plan,
        outputs: Vec<(String, Shape)>,
        limits: IndexLimits,
        leading: Option<Leading>,
        unused: Vec<String>,
    ) -> Program {
        Program { cpu, weights, steps, plan, outputs, limits, leading, unused }
    }

    /// Runs a batch: `outputs[i]` gets output `i`, dense, `rows × width` values.
    ///
    /// With an arena that has [grown](Arena::grow) to the batch, nothing is allocated. The result is the same, bit for bit, for every
    /// `exec`.
    ///
    /// # Errors
    /// If an id or a length is out of range, or the memory for the outputs doesn't fit.
    pub fn run(
        &self,
        batch: BatchView<'_>,
        arena: &mut Arena,
        exec: Exec<'_>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), RunError> {
        self.limits.check(batch)?;
        self.run_checked(batch, arena, exec, outputs, None)
    }

    /// Runs a batch whose ids have been checked.
    pub(crate) fn run_checked(
        &self,
        batch: BatchView<'_>,
        arena: &mut Arena,
        exec: Exec<'_>,
        outputs: &mut [&mut [f32]],
        mut recorder: Option<&mut Recorder>,
    ) -> Result<(), RunError> {
        self.check_outputs(batch, outputs)?;
        if batch.tokens() == 0 {
            return Ok(());
        }
        arena.grow(self, batch, exec.workers())?;
        let mut memory = Memory::new(&self.plan, batch, arena, outputs);
        for (index, step) in self.steps.iter().enumerate() {
            let start = recorder.as_ref().map(|recorder| recorder.now());
            step.run(&self.cpu, exec, &self.weights, batch, &mut memory)
                .map_err(|source| RunError::Kernel { step: step.name.clone(), source })?;
            if let (Some(recorder), Some(start)) = (recorder.as_deref_mut(), start) {
                recorder.record(index, start, step.cost(batch));
            }
        }
        Ok(())
    }

    fn check_outputs(&self, batch: BatchView<'_>, outputs: &[&mut [f32]]) -> Result<(), RunError> {
        if outputs.len() != self.outputs.len() {
            return Err(RunError::Output {
                output: "count".to_owned(),
                expected: self.outputs.len(),
                found: outputs.len(),
            });
        }
        for ((name, shape), memory) in self.outputs.iter().zip(outputs) {
            let expected = shape.len(batch)?;
            if memory.len() != expected {
                return Err(RunError::Output { output: name.clone(), expected, found: memory.len() });
            }
        }
        Ok(())
    }

    /// The level that it runs at.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The memory plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Names and shapes of the outputs.
    pub fn outputs(&self) -> &[(String, Shape)] {
        &self.outputs
    }

    /// How large ids and how long sequences may be.
    pub fn limits(&self) -> &IndexLimits {
        &self.limits
    }

    /// Which tokens lead, if some do.
    pub(super) fn leading(&self) -> Option<Leading> {
        self.leading
    }

    /// Names of the tensors in the weights that the program has no use for.
    pub fn unused_tensors(&self) -> &[String] {
        &self.unused
    }

    /// The steps, in order: name, and the kernel that computes it.
    pub fn steps(&self) -> impl Iterator<Item = (&str, String)> {
        self.steps.iter().map(|step| (step.name.as_str(), step.kernel_name(&self.cpu)))
    }

    /// Bytes of packed weights, each counted once; tables of embeddings stay in their file.
    pub fn packed_bytes(&self) -> usize {
        let mut weights: Vec<&PackedRhs> = Vec::new();
        for weight in self.steps.iter().filter_map(Step::packed) {
            // Layers may share one, which is there once.
            if !weights.iter().any(|other| weight.shares_panels_with(other)) {
                weights.push(weight);
            }
        }
        weights.iter().map(|weight| weight.bytes()).sum()
    }

    /// `f32`s of scratch that the steps need for a batch.
    pub(super) fn scratch_len(&self, batch: BatchView<'_>, workers: usize) -> Result<usize, KernelError> {
        let mut most = 0;
        for step in &self.steps {
            most = most.max(step.scratch_len(&self.cpu, batch, workers)?);
        }
        Ok(most)
    }
}

impl Shape {
    /// Values that a batch gives.
    pub(crate) fn len(self, batch: BatchView<'_>) -> Result<usize, RunError> {
        let rows = self.rows(batch);
        rows.checked_mul(self.width).ok_or(RunError::Memory(KernelError::TooLarge {
            what: "an output",
            rows,
            cols: self.width,
        }))
    }

    /// Rows that a batch gives.
    pub(crate) fn rows(self, batch: BatchView<'_>) -> usize {
        match self.rows {
            Rows::Tokens => batch.tokens(),
            Rows::Sequences => batch.sequences(),
        }
    }
}
