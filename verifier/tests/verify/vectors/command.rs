//! Cases by the command line: `streamseal-verify --json` reports the same as the library.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::Golden;
use super::form::Case;

impl Golden {
    /// Runs a case with the options that any verifier can have.
    pub(super) fn compare_with_command(&self, case: &Case) {
        let Case { name, changes, inputs, outcome } = case;
        let desk = self.lay_out(changes, inputs);
        let folder = desk.dir.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_streamseal-verify"));
        command.arg(folder.join(inputs.evidence())).arg("--trust").arg(folder.join("trust")).arg("--json");
        command.args(["--now", &inputs.now_s]);
        for clone in &desk.inputs.clones {
            command.arg("--clone").arg(clone);
        }
        command.args(inputs.expect.iter().flat_map(|expect| ["--stream", expect]));
        command.args(inputs.accept_gap.iter().flat_map(|reason| ["--accept-gap", reason]));
        if inputs.pin {
            command.arg("--pin").arg(folder.join("pin"));
        }
        let output = command.output().expect("runs");
        assert_eq!(output.status.code(), Some(i32::from(outcome.exit_code)), "{name}");
        if outcome.exit_code == 2 {
            assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{name}: what is wrong with the question");
            return;
        }
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let pin = inputs.pin.then(|| fs::read_to_string(folder.join("pin")).ok()).flatten();
        assert_eq!(by_report(&report, folder, pin), json!(outcome), "{name}");
    }
}

/// The outcome in the form of the vectors.
fn by_report(report: &Value, folder: &Path, pin: Option<String>) -> Value {
    let findings: Vec<Value> = list(&report["findings"]).iter().map(|finding| found(finding, folder)).collect();
    let streams = list(&report["streams"]).iter().filter(|stream| !list(&stream["proven"]).is_empty());
    let proven: Vec<Value> = streams.map(proven).collect();
    let (exit_code, verdict) = (&report["exit_code"], &report["verdict"]);
    let mut outcome = json!({"exit_code": exit_code, "verdict": verdict, "findings": findings, "proven": proven});
    if let Some(pin) = pin {
        outcome["pin"] = pin.into();
    }
    outcome
}

fn found(finding: &Value, folder: &Path) -> Value {
    let file =
        finding["file"].as_str().map(|file| file.strip_prefix(&format!("{}/", folder.display())).unwrap_or(file));
    let stream = Some(&finding["stream"]).filter(|stream| !stream.is_null()).map(name);
    let offsets = Some(&finding["offsets"]).filter(|offsets| !offsets.is_null()).map(range);
    let all = [
        ("verdict", finding["verdict"].clone()),
        ("code", finding["code"].clone()),
        ("file", file.into()),
        ("commit", finding["commit"].clone()),
        ("entry", finding["entry"].clone()),
        ("stream", stream.into()),
        ("offsets", offsets.into()),
    ];
    let there = all.into_iter().filter(|(_, value)| !value.is_null());
    there.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn proven(stream: &Value) -> Value {
    let anchored = &stream["anchored"];
    json!({
        "stream": name(stream),
        "offsets": list(&stream["proven"]).iter().map(range).collect::<Vec<_>>(),
        "events": stream["events"],
        "gaps": list(&stream["gaps"]).iter().map(|gap| range(&gap["offsets"])).collect::<Vec<_>>(),
        "anchored_size": anchored["size"],
        "existed_by_s": anchored["existed_by_s"],
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// In the form of a heads line.
fn name(stream: &Value) -> String {
    let text = |field: &str| stream[field].as_str().expect("text");
    format!("{} {} {} {}", text("cluster"), text("topic"), stream["partition"], text("epoch"))
}

fn range(range: &Value) -> Value {
    json!([range["from"], range["to"]])
}
