//! `loquat zero-shot`: labels that the model was never trained on.

use clap::Args;
use loquat::ZeroShotClassification;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::{InputArgs, InputFormat},
    item::Item,
    model::{PipelineArgs, TruncationReport, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
The model is one for inference between two texts. Each label becomes a hypothesis, and the model says how far the text entails it.
With --input-format jsonl a text may have labels of its own: {\"text\", \"labels\": [...]}.
With --json, a line per text: {\"labels\": [...], \"scores\": [...]}, the best first.

Examples:
  loquat zero-shot --model DIR --labels sports,politics,weather \"The match ended in a draw.\"
  loquat zero-shot --model DIR --labels urgent,billing --multi-label --json --input tickets.txt";

/// Label texts with labels of your own
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ZeroShot {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Labels to choose from, separated by commas
    #[arg(long, visible_alias = "candidate-labels", value_name = "LABELS", value_delimiter = ',')]
    labels: Vec<String>,

    /// What turns a label into a hypothesis
    #[arg(long, value_name = "TEXT", default_value = "This example is {}.")]
    hypothesis_template: String,

    /// Let several labels hold at once, each with a score of its own
    #[arg(long)]
    multi_label: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

#[derive(Serialize)]
struct Line<'a> {
    labels: Vec<&'a str>,
    scores: Vec<f32>,
}

impl ZeroShot {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let labels: Vec<String> =
            self.labels.iter().map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect();
        if labels.is_empty() && self.input.input_format == InputFormat::Text {
            return Err(Failure::Usage("--labels: give at least one label".into()));
        }
        let mut inputs = self.input.open(&self.texts)?;
        let model = configured!(ZeroShotClassification::builder(), self.pipeline)
            .hypothesis_template(&self.hypothesis_template)
            .multi_label(self.multi_label)
            .build()?;
        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        while let Some(chunk) = inputs.next_chunk()? {
            let places: Vec<_> = chunk.iter().map(|item| item.place.clone()).collect();
            let texts = chunk.into_iter().map(Item::into_labelled).collect::<Result<Vec<_>, _>>()?;
            let labelled: Vec<(&str, &[String])> =
                texts.iter().map(|(text, own)| (text.as_str(), own.as_ref().unwrap_or(&labels).as_slice())).collect();
            let results = model.predict_each(&labelled).map_err(|error| Failure::of_texts(error, &places))?;
            report.note(texts.len(), results.truncated(), &places);
            for labels in results.iter() {
                if self.output.json {
                    out.json(&Line {
                        labels: labels.iter().map(|label| label.label.as_str()).collect(),
                        scores: labels.iter().map(|label| label.score).collect(),
                    })?;
                } else {
                    let labels: Vec<String> =
                        labels.iter().map(|label| format!("{}\t{:.6}", label.label, label.score)).collect();
                    out.line(labels.join("\t"))?;
                }
            }
            out.flush()?;
        }
        report.print();
        Ok(())
    }
}
