//! Registering while DynamoDB fails.

use serde_json::json;
use testkit::{Account, Calls, DynamoDbFaults, Fault};

#[tokio::test]
async fn a_registration_that_fails_leaves_the_address_free() {
    let faults = DynamoDbFaults::default();
    let app = super::start(&faults).await;
    let keys = Calls::of("GetItem").by("IdentityFunction");
    let keys = keys.containing("data_keys");
    faults.inject(Fault::Throttled, keys, usize::MAX);
    let body = json!({"email": "ada@example.com", "password": Account::PASSWORD, "name": "Ada"});
    let register = || app.post("/api/auth/register", body.clone()).send();
    let failed = register().await;
    assert!(failed.status.is_server_error(), "{}", failed.text);
    faults.clear();
    register().await.expect(201);
}
