//! `streamseal config-reference`: generates docs/configuration.md from the definitions of the fields.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::config::Config;
use crate::output;

/// Prints the reference of the configuration file as Markdown.
pub(crate) fn run() {
    output::line(markdown().trim_end());
}

fn markdown() -> String {
    let schema = schemars::schema_for!(Config).to_value();
    let mut out = String::from(
        "# Configuration\n\nGenerated from the source by `streamseal config-reference`; change it there.\n\n\
         One TOML file configures all services. A machine needs only the sections of the services that it runs. Relative\n\
         paths are relative to the file. Unknown fields are refused. Times are whole numbers; the name of the\n\
         field ends with the unit.\n",
    );
    let sections = schema["properties"].as_object().into_iter().flatten();
    for (name, section) in sections {
        let _ = write!(out, "\n## `[{name}]`\n\n{}\n", description(section));
        let section = resolve(&schema, section);
        table(&schema, section, &mut out);
        for (field, value) in properties(section) {
            if let Some(item) = table_of(&schema, value) {
                let _ = write!(out, "\n### `[[{name}.{field}]]`\n\n{}\n", description(value));
                table(&schema, item, &mut out);
            }
        }
    }
    out
}

/// Writes the fields of a section that are values as a table.
fn table(schema: &Value, section: &Value, out: &mut String) {
    let required = section["required"].as_array().cloned().unwrap_or_default();
    let mut rows = String::new();
    for (field, value) in properties(section).filter(|(_, value)| table_of(schema, value).is_none()) {
        let default = match value.get("default") {
            _ if required.iter().any(|r| r == field) => "required".to_owned(),
            None | Some(Value::Null) => "none".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let _ = writeln!(rows, "| `{field}` | {} | {default} | {} |", kind(schema, value), description(value));
    }
    if !rows.is_empty() {
        let _ = write!(out, "\n| field | type | default | |\n|---|---|---|---|\n{rows}");
    }
}

fn properties(section: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    section["properties"].as_object().unwrap_or(&NONE).iter()
}

/// The schema of the items, if the value is an array of tables.
fn table_of<'a>(schema: &'a Value, value: &'a Value) -> Option<&'a Value> {
    let item = resolve(schema, value.get("items")?);
    item.get("properties").is_some().then_some(item)
}

/// Follows references, and unwraps optional sections.
fn resolve<'a>(schema: &'a Value, mut value: &'a Value) -> &'a Value {
    if let Some(options) = value["anyOf"].as_array() {
        value = options.iter().find(|option| option["type"] != "null").unwrap_or(value);
    }
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).map_or(value, |target| resolve(schema, target)),
        None => value,
    }
}

/// The description of the field or its type, on one line.
fn description(value: &Value) -> String {
    let text = value["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn kind(schema: &Value, value: &Value) -> String {
    let value = resolve(schema, value);
    let name = match &value["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|n| *n != "null").unwrap_or("any"),
        _ => "any",
    };
    match name {
        "array" => format!("list of {}", kind(schema, &value["items"])),
        "object" => "table".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    /// Run with UPDATE_REFERENCE=1 to write the file.
    #[test]
    fn config_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let markdown = super::markdown();
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(path, &markdown).expect("docs/ is writable");
        }
        let committed = std::fs::read_to_string(path).expect("docs/configuration.md is there");
        assert_eq!(committed, markdown, "run `just config-reference` and commit the result");
    }

    #[test]
    fn every_field_is_described() {
        for line in super::markdown().lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "no description: {line}");
        }
    }
}
