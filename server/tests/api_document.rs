//! The description of the HTTP API, and what it really answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::{Read, Write};

use serde_json::{Value, json};
use support::Server;
use support::http::deliver;
use testkit::scratch;
use testkit::wait::until_true;

#[test]
fn the_document_and_the_answers_agree() {
    let dir = scratch();
    let server = Server::with_api(dir.path(), &[]);
    let document = server.json("/api/v1/openapi.json");
    deliver(
        &server,
        "<a@c.test>",
        "<anna@local.test>",
        "Subject: x\r\n\r\nodd\n.\r\n",
    );
    let mut tls = server.after(&["EHLO c.test", "STARTTLS"]);
    tls.write_all(b"no handshake\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = tls.read_to_end(&mut rest);
    drop(tls);
    until_true("the end of both sessions", || {
        server.json("/api/v1/sessions?open=true")["sessions"] == json!([])
    });
    let id = server.json("/api/v1/messages")["messages"][0]["id"].clone();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let real = if path.contains("/messages/") {
            path.replace("{id}", id.as_str().unwrap())
        } else {
            path.replace("{id}", "2")
        };
        for method in ["get", "put", "post", "delete", "patch"] {
            let described = methods.get(method);
            if path == "/api/v1/events" && method == "get" {
                continue;
            }
            // What forgets the messages comes when they have been looked at.
            if path == "/api/v1/messages" && method == "delete" {
                assert!(described.is_some());
                continue;
            }
            let length = ["Content-Length: 0"];
            let answer = server.ask(&method.to_uppercase(), &real, &length);
            let Some(described) = described else {
                assert_eq!(answer.status, 405, "{method} {path} is not described");
                continue;
            };
            let status = answer.status.to_string();
            let mut response = &described["responses"][&status];
            if let Some(reference) = response["$ref"].as_str() {
                response = document.pointer(&reference[1..]).expect(reference);
            }
            assert!(
                response.is_object(),
                "{method} {path}: {status} is not described"
            );
            let Some(content) = response["content"].as_object() else {
                assert!(answer.body.is_empty());
                continue;
            };
            let media_type = answer.field("content-type").unwrap();
            let described = content.get(media_type).expect(media_type);
            if media_type == "application/json" {
                fits(&answer.json(), &described["schema"], &document, path);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 7, "JSON answers that were looked at");
    let answer = server.ask("DELETE", "/api/v1/messages", &[]);
    let forgotten = &document["components"]["schemas"]["Forgotten"];
    fits(&answer.json(), forgotten, &document, "forgotten");
    let problem = &document["components"]["schemas"]["Problem"];
    let answer = server.ask("GET", "/api/v1/wait?timeout=1ms", &[]);
    fits(&answer.json(), problem, &document, "problem");
}

/// A value is what a schema says: of its type, with all members and no others.
fn fits(value: &Value, schema: &Value, document: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(&reference[1..]).expect(reference);
        return fits(value, schema, document, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let choice = choices
            .iter()
            .find(|one| (one["type"] == "null") == value.is_null());
        return fits(value, choice.unwrap(), document, at);
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&json!(is)), "{at}: {value} is no {types:?}");
    if let Some(list) = schema["enum"].as_array() {
        assert!(list.contains(value), "{at}: {value} is not among {list:?}");
    }
    for one in value.as_array().into_iter().flatten() {
        fits(one, &schema["items"], document, &format!("{at}[]"));
    }
    if schema["additionalProperties"].is_object() {
        for (name, member) in value.as_object().unwrap() {
            let schema = &schema["additionalProperties"];
            fits(member, schema, document, &format!("{at}.{name}"));
        }
    }
    let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        return;
    };
    for (name, member) in members {
        let described = properties.get(name);
        let described = described.unwrap_or_else(|| panic!("{at}: {name} is not described"));
        fits(member, described, document, &format!("{at}.{name}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(members.contains_key(name), "{at}: there is no {name}");
    }
}
