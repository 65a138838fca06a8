//! What the server refuses, in the words of its two languages.

use std::ops::{Deref, DerefMut};

use serde_json::{Value as Json, json};

/// A request, or a part of one, that is not done.
///
/// One refusal has two faces: the REST body `{"statusCode","error","messages","code"}` and the GraphQL error with
/// `extensions.code` and `extensions.subCode`.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(Box<Facts>);

/// What is known of a refusal.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) status: u16,
    /// The name of the exception that REST shows.
    pub(crate) error: &'static str,
    pub(crate) message: String,
    pub(crate) code: Option<&'static str>,
    /// `extensions.code` and `extensions.subCode`.
    pub(crate) graphql: (&'static str, Option<&'static str>),
    /// What GraphQL tells beyond the message, such as the row that is in the way.
    pub(crate) extensions: Vec<(&'static str, Json)>,
    /// What GraphQL tells people.
    pub(crate) friendly: Option<String>,
    /// A REST body of another shape.
    pub(crate) body: Option<Json>,
}

impl Deref for Refusal {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl DerefMut for Refusal {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.0
    }
}

impl Refusal {
    fn new(
        status: u16,
        error: &'static str,
        message: impl Into<String>,
        graphql: (&'static str, Option<&'static str>),
    ) -> Self {
        let (message, code) = (message.into(), None);
        let facts = Facts { status, error, message, code, graphql, extensions: Vec::new(), friendly: None, body: None };
        Self(Box::new(facts))
    }

    /// A value, a field or a parameter that is not accepted.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequestException", message, ("BAD_USER_INPUT", Some("INVALID_ARGS_DATA")))
    }

    /// The same with a code, which REST shows as well.
    pub(crate) fn coded(code: &'static str, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(400, "Error", message, ("BAD_USER_INPUT", Some(code)));
        refusal.code = Some(code);
        refusal
    }

    /// What the database says no to.
    pub(crate) fn database(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequestException", message, ("BAD_USER_INPUT", None))
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "NotFoundException", "Record not found", ("NOT_FOUND", Some("RECORD_NOT_FOUND")))
    }

    /// A value of a unique field that another row has, trash included.
    pub(crate) fn duplicate(object: &str, label: &str, id: &str) -> Self {
        let mut refusal = Self::database("A duplicate entry was detected");
        refusal.extensions = vec![("conflictingRecordId", json!(id)), ("conflictingObjectNameSingular", json!(object))];
        refusal.friendly = Some(format!("This {label} value is already in use. Please check your data and try again."));
        refusal
    }

    /// What the server did not catch, which REST shows with a 400 all the same.
    pub(crate) fn type_error(message: impl Into<String>) -> Self {
        Self::new(400, "TypeError", message, ("INTERNAL_SERVER_ERROR", None))
    }

    pub(crate) fn database_surprise() -> Self {
        Self::new(500, "InternalServerErrorException", "Data validation error.", ("INTERNAL_SERVER_ERROR", None))
    }

    pub(crate) fn permission() -> Self {
        let mut refusal = Self::coded("PERMISSION_DENIED", "Entity performing the request does not have permission");
        refusal.graphql = ("FORBIDDEN", Some("PERMISSION_DENIED"));
        refusal
    }

    pub(crate) fn limit(tokens: i64, window: i64) -> Self {
        let message = format!("Limit reached ({tokens} tokens per {window} ms)");
        Self::new(429, "HttpException", message, ("BAD_USER_INPUT", Some("LIMIT_REACHED")))
    }

    /// A refusal of the framework, whose body has another shape.
    pub(crate) fn framework(status: u16, message: &str, error: &str) -> Self {
        Self::whole(status, json!({ "message": message, "error": error, "statusCode": status }))
    }

    /// A REST body of its own.
    pub(crate) fn whole(status: u16, body: Json) -> Self {
        let message = body["message"].as_str().or(body.as_str()).unwrap_or("An error occurred.").to_owned();
        let mut refusal = Self::new(status, "Error", message, ("INTERNAL_SERVER_ERROR", None));
        refusal.body = Some(body);
        refusal
    }

    /// A refusal of the guard that looks at keys.
    pub(crate) fn guard(status: u16, message: &str, error: &'static str) -> Self {
        let code = if status == 401 { "UNAUTHENTICATED" } else { "FORBIDDEN" };
        Self::new(status, error, message, (code, Some(error)))
    }

    /// Sets the status, where two doors answer the same refusal with two.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Writes the refusal as REST does.
    pub(crate) fn rest(&self) -> Json {
        if let Some(body) = &self.body {
            return body.clone();
        }
        let mut body = json!({ "statusCode": self.status, "error": self.error, "messages": [self.message] });
        if let Some(code) = self.code {
            body["code"] = json!(code);
        }
        if ["FORBIDDEN_EXCEPTION", "UNAUTHENTICATED"].contains(&self.error) {
            body = json!({ "statusCode": self.status, "messages": [self.message], "error": self.error });
        }
        body
    }

    /// Writes the refusal as GraphQL does: without a path.
    pub(crate) fn graphql(&self) -> Json {
        let mut extensions = serde_json::Map::new();
        for (name, value) in &self.extensions {
            extensions.insert((*name).to_owned(), value.clone());
        }
        if let Some(code) = self.graphql.1 {
            extensions.insert("subCode".into(), json!(code));
        }
        let friendly = self.friendly.clone().unwrap_or_else(|| "An error occurred.".into());
        extensions.insert("userFriendlyMessage".into(), json!(friendly));
        extensions.insert("code".into(), json!(self.graphql.0));
        // The metadata API tells what was wrong with which entity.
        if let Some(body) = self.body.as_ref().filter(|body| body["error"] == "METADATA_VALIDATION_ERROR") {
            extensions.insert("code".into(), json!("METADATA_VALIDATION_FAILED"));
            extensions.insert("errors".into(), body["errors"].clone());
            extensions.insert("summary".into(), body["summary"].clone());
        }
        json!({ "message": self.message, "extensions": extensions })
    }
}
