//! `loquat inspect`: what a model folder holds, and what becomes of it.

use std::path::PathBuf;

use clap::Args;
use loquat::{Encoder, Inspection};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    model::RunArgs,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
Shows config.json, every tensor with its type and shape, the graph as the model builds it and as each pass leaves it (with what
the pass applied and what it refused), the memory plan, and the kernel of every step.
With --json, one object: {\"config\", \"tensors\", \"quantization\", \"graph\", \"passes\", \"memory\", \"steps\", \"unused_tensors\"}.

Examples:
  loquat inspect path/to/model
  loquat inspect path/to/model --outputs last_hidden_state --json";

/// Show a model's config, tensors, graph, memory plan and kernels
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Inspect {
    /// Model folder [default: the embedded all-MiniLM-L6-v2]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,

    /// Outputs that the graph is reduced to, with commas between them [default: all that the encoder has]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Option<Vec<String>>,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    output: OutputArgs,
}

impl Inspect {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut builder = Encoder::builder().precision(self.run.precision.into());
        if let Some(outputs) = &self.outputs {
            builder = builder.outputs(outputs.clone());
        }
        if let Some(model) = &self.model {
            builder = builder.model(model.as_path());
        }
        if let Some(threads) = self.run.threads {
            builder = builder.threads(threads.get());
        }
        let encoder = builder.build()?;
        let mut out = Output::stdout();
        if self.output.json {
            out.json(&report(&encoder)?)?;
        } else {
            print(&mut out, &encoder)?;
        }
        out.flush()
    }
}

fn print(out: &mut Output, encoder: &Encoder) -> Result<(), Failure> {
    out.line("== config")?;
    out.line(encoder.config().trim_end())?;
    out.line(format_args!("\n== tensors: {} bytes", encoder.weights().bytes()))?;
    if let Some(quantization) = encoder.weights().quantization() {
        out.line(format_args!("quantised by {quantization}"))?;
    }
    for tensor in encoder.weights().iter() {
        out.line(format_args!(
            "{:<5} {:<16} {}",
            tensor.dtype.to_string(),
            format!("{:?}", tensor.shape),
            tensor.name
        ))?;
    }
    out.line("")?;
    out.line(encoder.inspect())
}

fn report(encoder: &Encoder) -> Result<Value, Failure> {
    let config: Value = serde_json::from_str(encoder.config()).map_err(|error| Failure::at("config.json", &error))?;
    let tensors: Vec<Value> = encoder
        .weights()
        .iter()
        .map(|tensor| json!({"name": tensor.name, "dtype": tensor.dtype.to_string(), "shape": tensor.shape}))
        .collect();
    let inspection = encoder.inspect();
    let program = inspection.program();
    let plan = program.plan();
    let steps: Vec<Value> = program.steps().map(|(name, kernel)| json!({"name": name, "kernel": kernel})).collect();
    Ok(json!({
        "config": config,
        "tensors": tensors,
        "quantization": encoder.weights().quantization().map(ToString::to_string),
        "graph": inspection.stages().first().map(|stage| graph(&stage.graph)),
        "passes": passes(&inspection),
        "memory": {
            "bytes_per_token": 4 * plan.per_token(),
            "bytes_per_sequence": 4 * plan.per_sequence(),
            "packed_weight_bytes": program.packed_bytes(),
        },
        "level": program.cpu().level().to_string(),
        "threads": inspection.threads(),
        "steps": steps,
        "unused_tensors": program.unused_tensors(),
    }))
}

/// Each pass, what it did, and the graph that it left.
fn passes(inspection: &Inspection) -> Vec<Value> {
    let passes = inspection.stages().iter().filter_map(|stage| Some((stage.pass?, stage)));
    passes
        .map(|(name, stage)| {
            let refused: Vec<Value> =
                stage.report.refused.iter().map(|refusal| json!({"node": refusal.node, "why": refusal.why})).collect();
            json!({"name": name, "applied": stage.report.applied, "refused": refused, "graph": graph(&stage.graph)})
        })
        .collect()
}

fn graph(graph: &loquat::Graph) -> Value {
    let nodes: Vec<Value> = graph
        .nodes()
        .iter()
        .map(|node| {
            let inputs: Vec<usize> = node.inputs.iter().map(|input| input.index()).collect();
            json!({"name": node.name, "op": node.op.kind(), "inputs": inputs, "shape": node.shape.to_string()})
        })
        .collect();
    let outputs: Vec<Value> =
        graph.outputs().iter().map(|output| json!({"name": output.name, "node": output.node.index()})).collect();
    json!({"nodes": nodes, "outputs": outputs})
}
