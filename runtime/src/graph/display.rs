//! A graph as text, one node a line.

use std::fmt;

use loquat_kernels::Arithmetic;

use super::{AttentionBias, DistanceTable, Graph, Op, Param, ParamId};

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " + " }, part.name)?;
            if part.transposed {
                f.write_str("ᵀ")?;
            }
            if part.rows != part.of {
                write!(f, "[{}..{}]", part.first, part.first + part.rows)?;
            }
        }
        match self.width {
            Some(width) => write!(f, " [{}, {width}]", self.rows()),
            None => write!(f, " [{}]", self.rows()),
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            write!(f, "%{index:<3} {:<18} {}(", node.shape.to_string(), node.op.kind())?;
            for (i, input) in node.inputs.iter().enumerate() {
                write!(f, "{}%{}", if i == 0 { "" } else { ", " }, input.0)?;
            }
            f.write_str(")")?;
            self.write_details(f, &node.op)?;
            writeln!(f, "  # {}", node.name)?;
        }
        for output in &self.outputs {
            writeln!(f, "output {} = %{}", output.name, output.node.0)?;
        }
        Ok(())
    }
}

impl Graph {
    fn write_details(&self, f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
        let param = |id: ParamId| self.param(id);
        match op {
            Op::Embedding { lookups, norm } => {
                for lookup in lookups {
                    write!(f, " {}[{:?}]", param(lookup.table), lookup.index)?;
                }
                if let Some(norm) = norm {
                    write!(f, " + norm {} eps {:e}", param(norm.gamma), norm.eps)?;
                }
            }
            Op::Linear(linear) => {
                write!(f, " {}", param(linear.weight))?;
                if linear.arithmetic != Arithmetic::F32 {
                    write!(f, " in {}", linear.arithmetic.name())?;
                }
                if linear.bias.is_some() {
                    f.write_str(" + bias")?;
                }
                if let Some(activation) = linear.activation {
                    write!(f, " + {activation:?}")?;
                }
                if linear.residual {
                    f.write_str(" + residual")?;
                }
                if let Some(norm) = &linear.norm {
                    write!(f, " + norm {} eps {:e}", param(norm.gamma), norm.eps)?;
                }
            }
            Op::Attention(attention) => {
                let spec = &attention.spec;
                write!(f, " {} heads of {}", spec.heads, spec.head_dim)?;
                if spec.arithmetic != Arithmetic::F32 {
                    write!(f, " in {}", spec.arithmetic.name())?;
                }
                if spec.causal {
                    f.write_str(", causal")?;
                }
                match &attention.bias {
                    Some(AttentionBias::Buckets { table, .. }) => write!(f, ", bias {}", param(*table))?,
                    Some(AttentionBias::Content { table: DistanceTable::Learned(table), .. }) => {
                        write!(f, ", distances by {}", param(*table))?;
                    }
                    Some(AttentionBias::Content { .. }) => f.write_str(", distances by sinusoids")?,
                    Some(AttentionBias::Window { distance, leading, .. }) => {
                        write!(f, ", up to {distance} tokens away")?;
                        if let Some(leading) = leading {
                            write!(f, " or {leading:?}")?;
                        }
                    }
                    None => {}
                }
                if attention.columns != [0; 3] {
                    write!(f, ", at columns {:?}", attention.columns)?;
                }
            }
            Op::LayerNorm(norm) | Op::AddNorm(norm) => {
                write!(f, " {} eps {:e}", param(norm.gamma), norm.eps)?;
            }
            Op::Activation(activation) => write!(f, " {activation:?}")?,
            Op::Pool(kind) => write!(f, " {kind:?}")?,
            Op::Select(which) => write!(f, " {which:?}")?,
            Op::Rotary(rotary) => write!(f, " heads of {}, base {}", rotary.head_dim, rotary.theta)?,
            Op::Affine(affine) => write!(f, " {}", param(affine.gamma))?,
            Op::Lead(leading) => write!(f, " {leading:?}")?,
            Op::Columns { first, width } => write!(f, " {first}..{}", first + width)?,
            Op::Neighbours(neighbours) => write!(f, " {:?} by {:?}", neighbours.offsets, neighbours.order)?,
            Op::Add | Op::Fourier | Op::Mul | Op::L2Normalize => {}
        }
        Ok(())
    }
}
