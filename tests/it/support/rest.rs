//! The REST API as somebody calls it.

use glassbox_protocol::{OrgId, ProjectId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{Person, World};

/// Somebody with a project of their own.
pub struct Scene {
    /// The world.
    pub world: World,
    /// Who owns the organization.
    pub ada: Person,
    /// The organization.
    pub org: OrgId,
    /// A project.
    pub project: ProjectId,
}

impl Scene {
    /// One instance, one owner, one project.
    pub async fn start() -> Self {
        let world = World::start().await;
        let ada = world.user("ada").await;
        let (org, project) = (world.org(&ada).await, world.project(&ada).await);
        Self { world, ada, org, project }
    }

    /// Somebody with a role in the organization.
    pub async fn person(&self, name: &str, role: &str) -> Person {
        let person = self.world.user(name).await;
        self.world.join(self.org, &person, role).await;
        person
    }

    /// Calls a path below `/api/v1`; `null` is no body.
    pub async fn call(&self, who: &Person, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.call_text(who, method, path, text).await
    }

    /// As [`Scene::call`], with any text for a body.
    pub async fn call_text(&self, who: &Person, method: Method, path: &str, body: String) -> (StatusCode, Value) {
        let url = self.world.url(0, &format!("/api/v1{path}"));
        let response = self.world.http.request(method, url).bearer_auth(&who.token).body(body).send().await;
        let response = response.unwrap_or_else(|e| panic!("{path}: {e}"));
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    /// Calls as the owner; panics unless the answer is a success.
    pub async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(&self.ada, method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    /// Reads as the owner.
    pub async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, Value::Null).await
    }

    /// Makes a node of the owner's and returns its id.
    pub async fn node(&self, title: &str) -> String {
        self.node_with(json!({ "title": title })).await
    }

    /// Makes a node from a body and returns its id.
    pub async fn node_with(&self, body: Value) -> String {
        let made = self.ok(Method::POST, &format!("/projects/{}/nodes", self.project), body).await;
        id(&made)
    }

    /// Inserts a file of the organization and returns its id.
    pub async fn file(&self, name: &str) -> Uuid {
        sqlx::query_scalar(
            "insert into files (org_id, storage_key, storage_bucket, filename, processing_status, extracted_text)
            values ($1, $2, 'b', $2, 'processed', 'what it says') returning id",
        )
        .bind(self.org.0)
        .bind(name)
        .fetch_one(&self.world.database.superuser())
        .await
        .expect("a file")
    }

    /// Asks for something that is refused; returns the status, the code and the field that it names.
    pub async fn refusal(&self, who: &Person, method: Method, path: &str, body: Value) -> (u16, String, String) {
        let (status, answer) = self.call(who, method, path, body).await;
        assert!(!status.is_success(), "{path}: {answer}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (status.as_u16(), text(&answer["code"]), text(&answer["details"]["field"]))
    }
}

/// The id of an answer.
pub fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
}

/// The ids of a list's items.
pub fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap_or_else(|| panic!("no list in {list}")).iter().map(id).collect()
}
