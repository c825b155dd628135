//! The settings of an organization: what of them is secret, and how they are written back by those who were not shown
//! the secrets. Pure.

use serde_json::{Map, Value};

/// Stands in the place of a stored secret.
pub const HIDDEN: &str = "********";

/// The keys of secrets, at any depth, in both spellings.
const KEYS: [&str; 4] = ["selfHostedKey", "self_hosted_key", "apiKey", "api_key"];
/// The secrets of a model.
const MODEL_KEYS: [&str; 2] = ["apiKey", "api_key"];

/// Puts [`HIDDEN`] in the place of every secret.
pub fn hide_secrets(settings: &mut Value) {
    match settings {
        Value::Object(fields) => {
            for (key, value) in fields {
                if KEYS.contains(&key.as_str()) {
                    *value = HIDDEN.into();
                } else {
                    hide_secrets(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fills in what the writer was not shown: [`HIDDEN`] means "as it is stored", and so does a key that is left out of a
/// model that is stored under the same name. Where nothing is stored, nothing stays.
pub fn keep_secrets(new: &mut Value, stored: &Value) {
    let stored_models = stored.get("models");
    for model in new.get_mut("models").and_then(Value::as_array_mut).into_iter().flatten() {
        let stored = model.get("name").and_then(|name| named(stored_models?, name));
        let Some(fields) = model.as_object_mut() else { continue };
        if !MODEL_KEYS.iter().any(|key| fields.contains_key(*key)) {
            for key in MODEL_KEYS {
                restore(fields, key, stored.and_then(|stored| stored.get(key)));
            }
        }
    }
    restore_hidden(new, Some(stored));
}

/// Restores what is hidden from its place in what is stored; things in a list are known by their name, else by their
/// place.
fn restore_hidden(new: &mut Value, stored: Option<&Value>) {
    match new {
        Value::Object(fields) => {
            for key in KEYS {
                if fields.get(key).and_then(Value::as_str) == Some(HIDDEN) {
                    restore(fields, key, stored.and_then(|stored| stored.get(key)));
                }
            }
            for (key, value) in fields.iter_mut().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
                restore_hidden(value, stored.and_then(|stored| stored.get(key)));
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                let stored = stored.and_then(|stored| match item.get("name") {
                    Some(name) => named(stored, name),
                    None => stored.get(i),
                });
                restore_hidden(item, stored);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn named<'a>(items: &'a Value, name: &Value) -> Option<&'a Value> {
    items.as_array()?.iter().find(|item| item.get("name") == Some(name))
}

fn restore(fields: &mut Map<String, Value>, key: &str, stored: Option<&Value>) {
    match stored {
        Some(secret) => fields.insert(key.to_owned(), secret.clone()),
        None => fields.remove(key),
    };
}

/// Checks the shapes that secrets are looked for in; all else is kept as it comes. The error is a field and a reason.
///
/// # Errors
/// `models` is not a list of objects with different names.
pub fn check(settings: &Value) -> Result<(), (String, &'static str)> {
    let Some(models) = settings.get("models").filter(|models| !models.is_null()) else { return Ok(()) };
    let models = models.as_array().ok_or(("settings.models".to_owned(), "expected a list"))?;
    for (i, model) in models.iter().enumerate() {
        let fields = model.as_object().ok_or_else(|| (format!("settings.models[{i}]"), "expected an object"))?;
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            return Err((format!("settings.models[{i}].name"), "is required"));
        }
        if models[..i].iter().any(|earlier| earlier["name"] == name) {
            return Err((format!("settings.models[{i}].name"), "stands there twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_kept() {
        let mut settings = json!({
            "selfHostedKey": "k",
            "models": [{"name": "a", "apiKey": "s"}, {"name": "b"}, {"name": "c", "api_key": "s"}, "odd"],
            "other": [1]
        });
        hide_secrets(&mut settings);
        assert_eq!(
            settings,
            json!({
                "selfHostedKey": HIDDEN,
                "models": [{"name": "a", "apiKey": HIDDEN}, {"name": "b"}, {"name": "c", "api_key": HIDDEN}, "odd"],
                "other": [1]
            })
        );
    }

    #[test]
    fn a_writer_who_was_shown_no_secrets_loses_none() {
        let stored = json!({
            "selfHostedKey": "k",
            "models": [{"name": "a", "apiKey": "1"}, {"name": "b", "apiKey": "2"}, {"name": "c", "apiKey": "3"}]
        });
        let mut new = json!({
            "selfHostedKey": HIDDEN,
            "models": [
                {"name": "c", "apiKey": HIDDEN}, {"name": "a"}, {"name": "b", "apiKey": "new"},
                {"name": "d", "apiKey": HIDDEN}, {"name": "e"}
            ]
        });
        keep_secrets(&mut new, &stored);
        assert_eq!(
            new,
            json!({
                "selfHostedKey": "k",
                "models": [
                    {"name": "c", "apiKey": "3"}, {"name": "a", "apiKey": "1"}, {"name": "b", "apiKey": "new"},
                    {"name": "d"}, {"name": "e"}
                ]
            })
        );
        let mut without = json!({});
        keep_secrets(&mut without, &stored);
        assert_eq!(without, json!({}), "what is left out of the settings themselves is gone");
    }

    #[test]
    fn a_secret_is_hidden_and_kept_wherever_it_stands() {
        let stored = json!({
            "apiKey": "1",
            "vendors": {"x": {"api_key": "2", "regions": [{"apiKey": "3"}, {"name": "b", "selfHostedKey": {"k": "4"}}]}},
            "models": [{"name": "a", "fallback": {"apiKey": "5"}}]
        });
        let mut shown = stored.clone();
        hide_secrets(&mut shown);
        assert_eq!(
            shown,
            json!({
                "apiKey": HIDDEN,
                "vendors": {
                    "x": {"api_key": HIDDEN, "regions": [{"apiKey": HIDDEN}, {"name": "b", "selfHostedKey": HIDDEN}]}
                },
                "models": [{"name": "a", "fallback": {"apiKey": HIDDEN}}]
            })
        );
        keep_secrets(&mut shown, &stored);
        assert_eq!(shown, stored, "what was read is written back");
        let mut elsewhere = json!({"vendors": {"y": {"apiKey": HIDDEN}}});
        keep_secrets(&mut elsewhere, &stored);
        assert_eq!(elsewhere, json!({"vendors": {"y": {}}}));
    }

    #[test]
    fn models_that_secrets_could_hide_in_are_refused() {
        let field = |settings: Value| check(&settings).err().map(|(field, _)| field);
        assert_eq!(field(json!({"models": {"a": {"apiKey": "s"}}})), Some("settings.models".to_owned()));
        assert_eq!(field(json!({"models": [["s"]]})), Some("settings.models[0]".to_owned()));
        assert_eq!(field(json!({"models": [{"apiKey": "s"}]})), Some("settings.models[0].name".to_owned()));
        assert_eq!(
            field(json!({"models": [{"name": "a"}, {"name": "a"}]})),
            Some("settings.models[1].name".to_owned())
        );
        assert_eq!(field(json!({"models": [{"name": "a", "litellm_model": "x"}], "default_model": "a"})), None);
    }
}
