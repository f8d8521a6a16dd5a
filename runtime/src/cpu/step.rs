//! One step of a program, and how it runs.

use std::sync::Arc;

use loquat_kernels::{
    Activation, AttentionSpec, Cpu, Epilogue, Exec, KernelError, MatMut, MatRef, PackedRhs, PositionBias, activation,
    attention, biased_attention,
    elementwise::{self, Elementwise},
    embedding::{self, EmbeddingTable, Indices, Lookup},
    fourier::Fourier,
    gather, gemm, neighbours,
    norm::{self, NormParams},
    normalize,
    pooling::{self, Pooling},
    rotary,
};

use super::{
    memory::{Borrowed, Memory, Operand},
    position_tables::{StepBias, StepRotary},
};
use crate::{
    batch::BatchView,
    graph::{Index, MAX_TABLES, Neighbours, Rows, Select},
    weights::{Scales, Source, Storage, Weights},
};

/// One kernel call, or a GEMM with the norm behind it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) kind: StepKind,
    pub(super) out: Operand,
    pub(super) inputs: Vec<Operand>,
    /// The input that the result is written over.
    pub(super) in_place: Option<usize>,
}

/// What a step computes, with everything that it needs but its inputs.
#[derive(Debug)]
pub(super) enum StepKind {
    Embed { tables: Vec<StepTable>, norm: Option<StepNorm> },
    Linear { weight: PackedRhs, bias: Option<Vec<f32>>, activation: Option<Activation>, norm: Option<StepNorm> },
    Attention { spec: AttentionSpec, columns: [usize; 3], bias: Option<Arc<StepBias>>, lone: Select, leads: bool },
    LayerNorm(StepNorm),
    AddNorm(StepNorm),
    Add,
    Mul,
    Affine { gamma: Vec<f32>, beta: Vec<f32> },
    Columns { first: usize },
    Fourier(Arc<Fourier>),
    Lead,
    Neighbours(Neighbours),
    Rotary(Arc<StepRotary>),
    Activation(Activation),
    Pool(Pooling),
    Select(Select),
    L2Normalize,
}

/// An embedding table, left in its file.
#[derive(Debug)]
pub(super) struct StepTable {
    pub(super) source: Source,
    pub(super) index: Index,
}

/// Parameters of a layer norm.
#[derive(Debug)]
pub(super) struct StepNorm {
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) eps: f32,
}

impl StepNorm {
    pub(super) fn params(&self) -> NormParams<'_> {
        NormParams { gamma: &self.gamma, beta: &self.beta, eps: self.eps }
    }
}

impl Step {
    /// `f32`s of scratch that the step needs for a batch.
    pub(super) fn scratch_len(&self, cpu: &Cpu, batch: BatchView<'_>, workers: usize) -> Result<usize, KernelError> {
        let rows = match self.out.rows {
            Rows::Tokens => batch.tokens(),
            Rows::Sequences => batch.sequences(),
        };
        match &self.kind {
            StepKind::Linear { weight, .. } => gemm::scratch_len(weight, rows, workers),
            StepKind::Attention { spec, bias, lone, leads, .. } => {
                // How many tokens lead takes no scratch, that there are any does.
                let leading = leads.then_some(&[][..]);
                let bias = position_bias(bias, *lone, leading, batch)?;
                attention::biased_scratch_len(cpu, spec, bias, batch.max_len(), workers)
            }
            StepKind::Fourier(fourier) => fourier.scratch_len(rows, batch.max_len(), workers),
            _ => Ok(0),
        }
    }

    pub(super) fn run(
        &self,
        cpu: &Cpu,
        exec: Exec<'_>,
        weights: &Weights,
        batch: BatchView<'_>,
        memory: &mut Memory<'_, '_>,
    ) -> Result<(), KernelError> {
        let Borrowed { mut out, others, scratch, one_each, past_padding, leading } = memory.borrow(&self.out)?;
        let input = |place: usize| match self.inputs.get(place) {
            Some(operand) => others.view(operand),
            None => Err(KernelError::Shape { what: "inputs", expected: place + 1, found: self.inputs.len() }),
        };
        match &self.kind {
            StepKind::Embed { tables, norm } => {
                let norm = norm.as_ref().map(StepNorm::params);
                embed(cpu, exec, weights, batch, past_padding, tables, norm, out)
            }
            StepKind::Linear { weight, bias, activation, norm } => {
                let residual = self.inputs.get(1).map(|operand| others.view(operand)).transpose()?;
                let epilogue = Epilogue { bias: bias.as_deref(), activation: *activation, residual };
                gemm(cpu, exec, input(0)?, weight, &epilogue, scratch, out.reborrow())?;
                match norm {
                    Some(norm) => norm::layer_norm(cpu, exec, out, norm.params()),
                    None => Ok(()),
                }
            }
            StepKind::Attention { spec, columns, bias, lone, leads } => {
                let width = spec.heads * spec.head_dim;
                let q = input(0)?.columns(columns[0], width)?;
                let k = input(1)?.columns(columns[1], width)?;
                let v = input(2)?.columns(columns[2], width)?;
                let cu_kv = batch.cu_seqlens();
                let cu_q = match self.out.rows {
                    Rows::Tokens => cu_kv,
                    Rows::Sequences => one_each,
                };
                let bias = position_bias(bias, *lone, leads.then_some(leading), batch)?;
                biased_attention(cpu, exec, spec, bias, q, k, v, cu_q, cu_kv, scratch, out)
            }
            StepKind::LayerNorm(norm) => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                norm::layer_norm(cpu, exec, out, norm.params())
            }
            StepKind::AddNorm(norm) => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                norm::add_layer_norm(cpu, exec, out, input(self.other_input())?, norm.params())
            }
            StepKind::Add => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                elementwise::apply(cpu, exec, Elementwise::Add(input(self.other_input())?), out)
            }
            StepKind::Mul => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                elementwise::apply(cpu, exec, Elementwise::Multiply(input(self.other_input())?), out)
            }
            StepKind::Affine { gamma, beta } => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                elementwise::apply(cpu, exec, Elementwise::Affine { scale: gamma, shift: beta }, out)
            }
            StepKind::Columns { first } => {
                copy(input(0)?.columns(*first, self.out.width)?, &mut out);
                Ok(())
            }
            StepKind::Lead => {
                if self.in_place.is_none() {
                    copy(input(1)?, &mut out);
                }
                lead(input(0)?, leading, batch, &mut out);
                Ok(())
            }
            StepKind::Fourier(fourier) => fourier.apply(exec, input(0)?, batch.cu_seqlens(), scratch, out),
            StepKind::Neighbours(Neighbours { offsets, order }) => {
                neighbours::beside(exec, offsets, *order, input(0)?, batch.cu_seqlens(), out)
            }
            StepKind::Rotary(rotary) => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                let StepRotary { cos, sin, positions, half } = &**rotary;
                let table = |values| MatRef::new(values, *positions, *half, *half);
                rotary::rotate(cpu, exec, table(cos)?, table(sin)?, batch.positions(), out)
            }
            StepKind::Activation(activation) => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                activation::apply(cpu, exec, *activation, out);
                Ok(())
            }
            StepKind::Pool(kind) => pooling::pool(cpu, exec, *kind, input(0)?, batch.cu_seqlens(), out),
            StepKind::Select(which) => gather::select_rows(exec, *which, input(0)?, batch.cu_seqlens(), out),
            StepKind::L2Normalize => {
                if self.in_place.is_none() {
                    copy(input(0)?, &mut out);
                }
                normalize::l2_normalize(cpu, exec, out);
                Ok(())
            }
        }
    }

    /// The input of a sum that isn't where the result goes.
    fn other_input(&self) -> usize {
        if self.in_place == Some(1) { 0 } else { 1 }
    }
}

fn position_bias<'a>(
    bias: &'a Option<Arc<StepBias>>,
    lone: Select,
    leading: Option<&'a [u32]>,
    batch: BatchView<'a>,
) -> Result<Option<PositionBias<'a>>, KernelError> {
    let Some(bias) = bias else { return Ok(None) };
    let bias = bias.view(batch.type_ids())?.lone(lone);
    Ok(Some(leading.map_or(bias, |leading| bias.leading(leading))))
}

#[allow(clippy::too_many_arguments)]
fn embed(
    cpu: &Cpu,
    exec: Exec<'_>,
    weights: &Weights,
    batch: BatchView<'_>,
    past_padding: &[u32],
    tables: &[StepTable],
    norm: Option<NormParams<'_>>,
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    let Some((first, rest)) = tables.split_first() else { return Ok(()) };
    let mut lookups = [lookup(first, weights, batch, past_padding); MAX_TABLES];
    for (slot, table) in lookups[1..].iter_mut().zip(rest) {
        *slot = lookup(table, weights, batch, past_padding);
    }
    embedding::embed(cpu, exec, &lookups[..tables.len()], norm, out)
}

fn lookup<'a>(table: &'a StepTable, weights: &'a Weights, batch: BatchView<'a>, past_padding: &'a [u32]) -> Lookup<'a> {
    let values = weights.at(&table.source.values);
    let scales = table.source.scales.as_ref().map_or(&[][..], Scales::bytes);
    Lookup {
        table: match table.source.storage {
            Storage::F32 => EmbeddingTable::F32(values),
            Storage::F16 => EmbeddingTable::F16(values),
            Storage::Bf16 => EmbeddingTable::Bf16(values),
            // Packed tables were refused when the weights were found.
            Storage::I8 | Storage::Packed4 | Storage::Packed8 => EmbeddingTable::I8 { values, scales },
        },
        rows: table.source.rows,
        indices: Indices::Rows(match table.index {
            Index::TokenIds => batch.ids(),
            Index::TypeIds => batch.type_ids(),
            Index::Positions => batch.positions(),
            Index::PositionsPastPadding(_) => past_padding,
        }),
    }
}

/// Copies the rows of leading tokens. If there is one for each sequence, it is the first token's.
fn lead(from: MatRef<'_>, leading: &[u32], batch: BatchView<'_>, to: &mut MatMut<'_>) {
    for (sequence, &count) in leading.iter().enumerate() {
        let tokens = batch.token_range(sequence);
        let first = if from.rows() == to.rows() { tokens.start } else { sequence };
        for i in 0..(count as usize).min(tokens.len()) {
            to.row_mut(tokens.start + i).copy_from_slice(from.row(first + i));
        }
    }
}

/// Copies a value to where an in-place kernel works on it.
fn copy(from: MatRef<'_>, to: &mut MatMut<'_>) {
    for row in 0..from.rows() {
        to.row_mut(row).copy_from_slice(from.row(row));
    }
}
