//! What a step takes: floating-point operations, memory traffic, and which kernel does it.

use loquat_kernels::{Cpu, PackedRhs};

use super::step::{Step, StepKind};
use crate::{batch::BatchView, graph::Rows};

/// Work of one call of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// Floating-point operations; a multiply-add counts as two. Only matrix products are counted.
    pub(crate) flop: u64,
    /// Bytes of values and weights that are read or written, each counted once.
    pub(crate) bytes: u64,
}

impl Step {
    pub(super) fn cost(&self, batch: BatchView<'_>) -> Cost {
        let rows = |rows: Rows| match rows {
            Rows::Tokens => batch.tokens() as u64,
            Rows::Sequences => batch.sequences() as u64,
        };
        let out = rows(self.out.rows) * self.out.width as u64;
        let inputs: u64 = self.inputs.iter().map(|input| rows(input.rows) * input.width as u64).sum();
        let values = 4 * (out + inputs);
        match &self.kind {
            StepKind::Linear { weight, .. } => Cost {
                flop: 2 * rows(self.out.rows) * (weight.k() * weight.n()) as u64,
                bytes: values + weight.bytes() as u64,
            },
            StepKind::Attention { spec, bias, .. } => {
                let by_content: u64 = (0..batch.sequences())
                    .map(|sequence| {
                        let keys = batch.token_range(sequence).len() as u64;
                        let queries = if self.out.rows == Rows::Tokens { keys } else { 1 };
                        bias.as_ref().map_or(0, |bias| bias.products(queries, keys))
                    })
                    .sum();
                let pairs: u64 = (0..batch.sequences())
                    .map(|sequence| {
                        let keys = batch.token_range(sequence).len() as u64;
                        let queries = if self.out.rows == Rows::Tokens { keys } else { 1 };
                        match bias {
                            Some(bias) => bias.pairs(queries, keys),
                            None if spec.causal && queries == keys => keys * (keys + 1) / 2,
                            None => queries * keys,
                        }
                    })
                    .sum();
                let width = (spec.heads * spec.head_dim) as u64;
                // Queries, keys and values may be columns of one input, which isn't read three times.
                let bytes = 4 * width * (2 * rows(self.out.rows) + 2 * batch.tokens() as u64);
                Cost { flop: (4 * pairs + 2 * by_content) * width, bytes }
            }
            StepKind::Fourier(fourier) => {
                let squares = |sequence| (batch.token_range(sequence).len() as u64).pow(2);
                let pairs: u64 = (0..batch.sequences()).map(squares).sum();
                let width = fourier.width() as u64;
                Cost { flop: 4 * width * (batch.tokens() as u64 * width + pairs), bytes: values + 8 * width * width }
            }
            StepKind::Embed { tables, .. } => {
                let gathered: usize = tables.iter().map(|table| table.source.storage.row_bytes(self.out.width)).sum();
                Cost { flop: 0, bytes: values + batch.tokens() as u64 * gathered as u64 }
            }
            StepKind::LayerNorm(_)
            | StepKind::AddNorm(_)
            | StepKind::Add
            | StepKind::Mul
            | StepKind::Affine { .. }
            | StepKind::Columns { .. }
            | StepKind::Lead
            | StepKind::Neighbours(_)
            | StepKind::Rotary(_)
            | StepKind::Activation(_)
            | StepKind::Pool(_)
            | StepKind::Select(_)
            | StepKind::L2Normalize => Cost { flop: 0, bytes: values },
        }
    }

    /// The kernel that computes the step.
    pub(super) fn kernel_name(&self, cpu: &Cpu) -> String {
        let row_wise = |name: &str| format!("{}-{name}", cpu.vector_level());
        match &self.kind {
            StepKind::Linear { weight, activation, norm, .. } => {
                let mut name = weight.kernel_name().to_owned();
                if let Some(activation) = activation {
                    name += &format!(" + {activation:?}");
                }
                if self.inputs.len() > 1 {
                    name += " + residual";
                }
                if norm.is_some() {
                    name += " + layer_norm";
                }
                name
            }
            StepKind::Embed { norm: Some(_), .. } => row_wise("embed + layer_norm"),
            StepKind::Embed { norm: None, .. } => row_wise("embed"),
            StepKind::Attention { spec, .. } => {
                format!("{} attention", spec.kernel(cpu).name)
            }
            StepKind::LayerNorm(_) => row_wise("layer_norm"),
            StepKind::AddNorm(_) => row_wise("add_layer_norm"),
            StepKind::Add => row_wise("add"),
            StepKind::Mul => row_wise("mul"),
            StepKind::Affine { .. } => row_wise("affine"),
            StepKind::Columns { .. } => row_wise("columns"),
            StepKind::Lead => row_wise("lead"),
            StepKind::Neighbours(_) => row_wise("neighbours"),
            StepKind::Fourier(fourier) => format!("{} fourier", fourier.kernel_name()),
            StepKind::Rotary(_) => row_wise("rotary"),
            StepKind::Activation(activation) => row_wise(&format!("{activation:?}")),
            StepKind::Pool(kind) => row_wise(&format!("pool {kind:?}")),
            StepKind::Select(which) => row_wise(&format!("select {which:?}")),
            StepKind::L2Normalize => row_wise("l2_normalize"),
        }
    }

    /// The packed weight that the step reads.
    pub(super) fn packed(&self) -> Option<&PackedRhs> {
        match &self.kind {
            StepKind::Linear { weight, .. } => Some(weight),
            _ => None,
        }
    }
}
