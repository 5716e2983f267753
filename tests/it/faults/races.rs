//! Changes between two steps of a request: rights that are lost, and workspaces that are deleted.

use domain::audit::{AuditEntry, Caller};
use domain::ids::WorkspaceId;
use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};
use store::Store;
use testkit::{Account, Calls, DynamoDbFaults, Held, TestApp, TestResponse};

const MEMBERS: &str = "/api/organization/members";

/// An organization of two workspaces, with an administrator besides its owner.
struct Office {
    app: TestApp,
    faults: DynamoDbFaults,
    owner: Account,
    second: String,
    grace: Account,
}

impl Office {
    async fn open() -> Self {
        let faults = DynamoDbFaults::default();
        let app = super::start(&faults).await;
        let owner = app.register().await;
        let second = owner.second_workspace(&app).await;
        let grace = owner.colleague(&app, "ADMIN", &[]).await;
        Self {
            app,
            faults,
            owner,
            second,
            grace,
        }
    }

    /// Holds the writes of the identity function that have this text in them.
    fn hold_writes(&self, text: &str) -> Held {
        let writes = Calls::of("TransactWriteItems").by("IdentityFunction");
        self.faults.hold(writes.containing(text))
    }

    async fn send(&self, by: &Account, method: Method, path: &str, body: Value) -> TestResponse {
        let request = self.app.request(method, path).json(body);
        request.bearer(&by.access_token).send().await
    }

    async fn change_grace(&self, change: Value) {
        let path = format!("{MEMBERS}/{}", self.grace.user_id);
        let changed = self.send(&self.owner, Method::PATCH, &path, change);
        changed.await.expect(200);
    }

    async fn delete_second(&self) {
        let path = format!("/api/workspaces/{}?name=Second", self.second);
        let deleted = self.send(&self.owner, Method::DELETE, &path, json!({}));
        deleted.await.expect(202);
    }

    /// The answer to `request`, whose held calls go on once `meanwhile` is done.
    async fn change_while(
        request: impl Future<Output = TestResponse>,
        mut held: Held,
        meanwhile: impl Future<Output = ()>,
    ) -> TestResponse {
        let meanwhile = async {
            held.arrived(1).await;
            meanwhile.await;
            held.let_go();
        };
        join(request, meanwhile).await.0
    }

    async fn member(&self, id: &Value) -> Value {
        let listed = self.send(&self.owner, Method::GET, MEMBERS, json!({}));
        let listed = listed.await.expect(200)["data"].clone();
        let mut listed = listed.as_array().unwrap().iter();
        listed.find(|member| member["id"] == *id).unwrap().clone()
    }
}

#[tokio::test]
async fn an_administrator_who_is_demoted_meanwhile_deletes_nothing() {
    let office = Office::open().await;
    let second = format!("/api/workspaces/{}?name=Second", office.second);
    let all = "/api/organization?name=Analytical+Engines".to_owned();
    let only_first = json!({"workspaces": [office.owner.workspace_id]});
    for (path, change, refused) in [
        (&second, json!({"role": "USER"}), 403),
        (&second, only_first.clone(), 404),
        (&all, json!({"role": "USER"}), 403),
        (&all, only_first, 403),
    ] {
        let held = office.hold_writes("\"deletion\"");
        let request = office.send(&office.grace, Method::DELETE, path, json!({}));
        let answer = Office::change_while(request, held, office.change_grace(change));
        answer.await.expect_refused(refused);
        let restored = json!({"role": "ADMIN", "workspaces": null});
        office.change_grace(restored).await;
    }
    let request = office.send(&office.grace, Method::DELETE, &second, json!({}));
    request.await.expect(202);
    let request = office.send(&office.grace, Method::DELETE, &all, json!({}));
    request.await.expect(202);
}

#[tokio::test]
async fn an_administrator_who_is_demoted_meanwhile_invites_no_administrator() {
    let office = Office::open().await;
    let invite = |by, role: &str| {
        let body = json!({"email": "eve@example.com", "role": role});
        office.send(by, Method::POST, MEMBERS, body)
    };
    for _ in 0..2 {
        let held = office.hold_writes("member.invited");
        let request = invite(&office.grace, "ADMIN");
        let demotion = office.change_grace(json!({"role": "USER"}));
        let answer = Office::change_while(request, held, demotion).await;
        answer.expect_refused(403);
        office.change_grace(json!({"role": "ADMIN"})).await;
        // The second time, the address is invited again.
        let invited = invite(&office.owner, "USER").await.expect(201);
        let listed = office.member(&invited["data"]["id"]).await;
        assert_eq!(listed["role"], "USER");
    }
}

#[tokio::test]
async fn an_invitation_names_no_workspace_that_is_deleted_meanwhile() {
    for is_repeated in [false, true] {
        let office = Office::open().await;
        let invite = |workspaces: Value| {
            let body = json!({"email": "eve@example.com", "workspaces": workspaces});
            office.send(&office.grace, Method::POST, MEMBERS, body)
        };
        if is_repeated {
            invite(json!(null)).await.expect(201);
        }
        let held = office.hold_writes("member.invited");
        let request = invite(json!([office.owner.workspace_id, office.second]));
        let answer = Office::change_while(request, held, office.delete_second()).await;
        let told = answer.expect_refused(400);
        assert!(told.contains("workspaces[1]"), "{told}");
    }
}

#[tokio::test]
async fn a_member_is_given_no_workspace_that_is_deleted_meanwhile() {
    let office = Office::open().await;
    let path = format!("{MEMBERS}/{}", office.grace.user_id);
    let both = json!({"workspaces": [office.owner.workspace_id, office.second]});
    // Held is the read of the organization, whose revision the change is written on.
    let reads = Calls::of("GetItem").by("IdentityFunction");
    let held = office.faults.hold(reads.containing("\"organization\""));
    let request = office.send(&office.owner, Method::PATCH, &path, both);
    let answer = Office::change_while(request, held, async {
        let store = Store::new(&office.app.platform.services());
        let id = office.owner.organization_id.parse().unwrap();
        let organization = store.organization(id).await.unwrap().unwrap();
        let caller = Caller::system(id, organization.default_workspace_id);
        let second: WorkspaceId = office.second.parse().unwrap();
        let now = office.app.clock.now();
        let audit = AuditEntry::new(&caller, "workspace.deleted", "workspace", second, now);
        let deletion = store.delete_workspace(&organization, second, &audit);
        deletion.await.unwrap();
    });
    let told = answer.await.expect_refused(400);
    assert!(told.contains("workspaces[1]"), "{told}");
}

#[tokio::test]
async fn the_tokens_of_a_member_are_changed_side_by_side() {
    let office = Office::open().await;
    for _ in 0..4 {
        let scopes = ["agents:read"];
        office.grace.agentplatform_key(&office.app, &scopes).await;
    }
    let mut held = office.hold_writes("api_key.updated");
    let demotion = office.change_grace(json!({"role": "USER"}));
    join(demotion, async {
        held.arrived(4).await;
        held.let_go();
    })
    .await;
}
