//! `inspect`, `profile` and `hwbench`.

use crate::{run::loquat, tiny_model::TinyModel};

#[test]
fn inspect_shows_the_config_the_tensors_the_graph_and_the_plan() {
    let folder = TinyModel::new().write("inspect");
    let model = folder.to_str().unwrap();
    let text = loquat(["inspect", model]).ok().stdout;
    for part in [
        "bert",
        "encoder.layer.0.attention.self.query.weight",
        "[12, 12]",
        "F32",
        "merge_qkv",
        "prune_rows",
        "bytes per token",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let json = &loquat(["inspect", "--json", model]).ok().json()[0];
    assert_eq!(json["config"]["hidden_size"], 12);
    let tensors = json["tensors"].as_array().unwrap();
    let query = tensors.iter().find(|tensor| tensor["name"] == "encoder.layer.0.attention.self.query.weight").unwrap();
    assert_eq!((&query["dtype"], &query["shape"]), (&"F32".into(), &serde_json::json!([12, 12])));
    assert!(
        json["passes"].as_array().unwrap().iter().any(
            |pass| pass["name"] == "merge_qkv" && pass["applied"].as_array().is_some_and(|nodes| !nodes.is_empty())
        )
    );
    loquat(["inspect", model, "--outputs", "logits"]).fails_with(&["logits", "last_hidden_state, pooler_output"]);
    loquat(["inspect", "no/such/model"]).fails_with(&["no/such/model"]);
}

#[test]
fn profile_times_every_step_and_names_its_kernel() {
    let folder = TinyModel::new().write("profile");
    let model = folder.to_str().unwrap();
    let trace = folder.join("trace.json");
    let arguments =
        ["profile", model, "--json", "--batch", "2", "--seq", "8", "--repeat", "2", "--trace", trace.to_str().unwrap()];
    let json = &loquat(arguments).ok().json()[0];
    let steps = json["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty())), "{steps:?}");
    assert!(steps.iter().all(|step| step["microseconds"].as_f64().is_some_and(|time| time >= 0.0)), "{steps:?}");
    let trace: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(trace).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().is_some_and(|events| !events.is_empty()));
    let table = loquat(["profile", model, "--batch", "2", "--seq", "8"]).ok().stdout;
    assert!(table.contains("GFLOP/s") && table.contains("kernel"), "{table}");
    loquat(["profile", model, "--seq", "1000"]).fails_with(&["1000", "24"]);
}

#[test]
fn hwbench_measures_the_peak_and_every_kernel() {
    let run = loquat(["hwbench", "--json", "--level", "scalar", "--milliseconds", "0"]).ok();
    let report = &run.json()[0];
    assert_eq!(report["units"][0]["level"], "scalar");
    assert!(report["units"][0]["peak_gops"].as_f64().unwrap() > 0.0);
    let gemm = report["gemm"].as_array().unwrap();
    assert!(gemm.iter().all(|row| row["gops"].as_f64().unwrap() > 0.0), "{gemm:?}");
    for kernel in ["scalar-f32-4x8", "scalar-int8-4x8"] {
        assert!(gemm.iter().any(|row| row["kernel"] == kernel), "{kernel}: {gemm:?}");
    }
    loquat(["hwbench", "--level", "sse9"]).misused(&["sse9", "avx2"]);
}
