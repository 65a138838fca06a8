//! The connector and the sandbox without a socket between them: what a simulation is made of.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use waybill_connectors::{
    Batch, Destination, Journal, JournalClosed, Outcome, Scan, WriteRow,
    salesforce::{Auth, Connection, Salesforce},
    transport::{Http, NoAnswer},
};
use waybill_ledger::{
    Fields, ObjectName, Value,
    event::{Operation, UnknownCause},
};
use waybill_sandbox::salesforce::{Options, Server};

/// A wire that is a function call.
#[derive(Debug)]
struct Direct(Server);

impl Http for Direct {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, NoAnswer>> {
        async move { self.0.answer(&request).map_err(|_| NoAnswer::Broken) }.boxed()
    }
}

struct NoJobs;

impl Journal for NoJobs {
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path} is not carried"))
    }

    async fn job_opened(&self, _: &str) -> Result<(), JournalClosed> {
        Err(JournalClosed)
    }
}

fn account(name: &str) -> Batch {
    let fields = Fields::from_iter([("Name", Value::from(name))]);
    Batch {
        object: ObjectName::from("Account"),
        operation: Operation::Create,
        key_field: None,
        rows: vec![WriteRow { key: name.to_owned(), id: None, fields }],
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_org_is_written_to_in_one_process_and_a_lost_answer_is_unknown() {
    let server = Server::new(&Options::default()).expect("an org");
    let connection = Connection::new("http://org.example".into(), Auth::Token(server.token().to_owned().into()));
    let org = Salesforce::connect_over(Arc::new(Direct(server.clone())), connection).await.expect("a connection");
    let accounts = ObjectName::from("Account");
    let before = org.count(&accounts, Scan::All).await.expect("a count");

    let outcomes = org.write(&account("Rowed"), &NoJobs).await.expect("a write");
    assert!(matches!(outcomes[..], [Outcome::Done { .. }]), "{outcomes:?}");
    assert_eq!(org.count(&accounts, Scan::All).await.expect("a count"), before + 1);

    let arm = http::Request::post("http://org.example/__sandbox/faults").body(Bytes::from(r#"{"lose_answers":1}"#));
    assert!(server.answer(&arm.expect("a request")).expect("an answer").status().is_success());
    let outcomes = org.write(&account("Lost"), &NoJobs).await.expect("a write");
    assert_eq!(outcomes, [Outcome::Unknown(UnknownCause::ConnectionLost)]);
    assert_eq!(org.count(&accounts, Scan::All).await.expect("a count"), before + 2, "the org had done the work");
}
