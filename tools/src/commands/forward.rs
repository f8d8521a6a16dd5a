//! `loquat forward`: a model's named outputs for given ids, as a safetensors file.

use std::{fs, path::PathBuf};

use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser};
use loquat::{Batch, Encoder, Task};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

use crate::{
    atomic,
    failure::Failure,
    item,
    model::{ModelArgs, RunArgs},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
The batch is ragged: sequences of any lengths, no padding, no attention mask. The file holds, little-endian,
  cu_seqlens         I64 [sequences + 1]      sequence i has rows cu_seqlens[i] .. cu_seqlens[i + 1]
and what the task gives, rows of all sequences one after another:
  feature-extraction        last_hidden_state F32 [tokens, hidden], and pooler_output F32 [sequences, hidden] where there is a pooler
  fill-mask                 logits F32 [tokens, vocabulary]
  token-classification      logits F32 [tokens, labels]
  replaced-token-detection  logits F32 [tokens, 1]
  question-answering        start_logits and end_logits F32 [tokens, 1]
  text-classification       logits F32 [sequences, labels]
  next-sentence-prediction  logits F32 [sequences, 2]
  multiple-choice           logits F32 [sequences, 1], each choice a sequence of its own
It is written beside its destination and renamed when it is whole.

Examples:
  loquat forward --model DIR --input-ids '[[101,7592,102],[101,2088,999,102]]' --out outputs.safetensors
  loquat forward --model DIR --input-ids @ids.json --token-type-ids @types.json --out outputs.safetensors";

/// Run a model on token ids and save its outputs
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Forward {
    #[command(flatten)]
    model: ModelArgs,

    /// What the model is run for
    #[arg(long, value_name = "TASK", default_value = "feature-extraction", value_parser = task())]
    task: Task,

    /// Token ids: a JSON list of lists, or @FILE that holds one
    #[arg(long, value_name = "JSON")]
    input_ids: String,

    /// Token type (segment) ids in the same form [default: all 0]
    #[arg(long, value_name = "JSON")]
    token_type_ids: Option<String>,

    /// Where to save the outputs
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// A task by its name.
fn task() -> impl TypedValueParser<Value = Task> {
    PossibleValuesParser::new(Task::ALL.map(Task::name))
        .map(|name| Task::ALL.into_iter().find(|task| task.name() == name).unwrap_or_default())
}

impl Forward {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let ids = lists("--input-ids", &self.input_ids)?;
        let type_ids = self.token_type_ids.as_deref().map(|json| lists("--token-type-ids", json)).transpose()?;
        let mut builder =
            Encoder::builder().model(self.model.source()).task(self.task).precision(self.run.precision.into());
        if let Some(threads) = self.run.threads {
            builder = builder.threads(threads.get());
        }
        let batch = batch(&ids, type_ids.as_deref())?;
        let outputs = builder.build()?.run(&batch)?;

        let cu_seqlens: Vec<u8> = outputs.cu_seqlens().iter().flat_map(|&end| i64::from(end).to_le_bytes()).collect();
        let mut tensors = vec![("cu_seqlens", Dtype::I64, vec![outputs.cu_seqlens().len()], cu_seqlens)];
        for (name, tensor) in outputs.iter() {
            let bytes = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((name, Dtype::F32, tensor.shape.to_vec(), bytes));
        }
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| Failure::at(self.out.display(), &error))?;
        let file = safetensors::serialize(views, None).map_err(|error| Failure::at(self.out.display(), &error))?;
        atomic::write(&self.out, &file)?;
        self.report(
            &tensors.iter().map(|(name, dtype, shape, _)| (*name, *dtype, shape.as_slice())).collect::<Vec<_>>(),
        )
    }

    /// What was written.
    fn report(&self, tensors: &[(&str, Dtype, &[usize])]) -> Result<(), Failure> {
        let mut out = Output::stdout();
        if self.output.json {
            let tensors: serde_json::Map<String, Value> = tensors
                .iter()
                .map(|(name, dtype, shape)| ((*name).to_owned(), serde_json::json!({"dtype": dtype, "shape": shape})))
                .collect();
            out.json(&serde_json::json!({"out": self.out.display().to_string(), "tensors": tensors}))?;
        } else {
            for (name, dtype, shape) in tensors {
                out.line(format_args!("{name} {dtype:?} {shape:?}"))?;
            }
        }
        out.flush()
    }
}

fn batch(ids: &[Vec<u32>], type_ids: Option<&[Vec<u32>]>) -> Result<Batch, Failure> {
    if let Some(type_ids) = type_ids
        && type_ids.len() != ids.len()
    {
        return Err(Failure::Failed(format!(
            "--token-type-ids: {} sequences, but --input-ids has {}: give as many",
            type_ids.len(),
            ids.len()
        )));
    }
    let mut batch = Batch::new();
    for (index, ids) in ids.iter().enumerate() {
        let type_ids = type_ids.map(|type_ids| type_ids[index].as_slice());
        batch.push(ids, type_ids).map_err(|error| Failure::from_error(&error))?;
    }
    Ok(batch)
}

/// The lists of ids that an option holds, or that the file holds which it names.
fn lists(option: &str, argument: &str) -> Result<Vec<Vec<u32>>, Failure> {
    let (place, json) = match argument.strip_prefix('@') {
        None => (option.to_owned(), argument.to_owned()),
        Some(path) => match fs::read_to_string(path) {
            Ok(json) => (path.to_owned(), json),
            Err(error) => return Err(Failure::at(path, &error)),
        },
    };
    let value: Value =
        serde_json::from_str(&json).map_err(|error| Failure::Failed(format!("{place}: not JSON: {error}")))?;
    let Value::Array(sequences) = &value else {
        return Err(Failure::Failed(format!("{place}: expected a list of lists of ids, such as [[101, 102]]")));
    };
    sequences
        .iter()
        .enumerate()
        .map(|(index, sequence)| {
            item::ids(sequence).map_err(|problem| Failure::Failed(format!("{place}: sequence {index}: {problem}")))
        })
        .collect()
}
