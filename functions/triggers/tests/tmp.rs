#![allow(dead_code, unused)]
mod platform;
use chrono::*;
use domain::access::Role;
use domain::agent::*;
use domain::audit::*;
use domain::ids::*;
use domain::run::*;
use domain::text::Name;
use domain::token::*;
use platform::*;
use runtime::*;
use serde_json::*;
use store::*;

async fn tick(p: &Platform, input: Value) -> Value {
    let Lambda::Event(f) = triggers::tick(p.services.clone()).await.unwrap() else {
        panic!()
    };
    f(
        input,
        Invocation {
            deadline: p.clock.now() + TimeDelta::seconds(50),
        },
    )
    .await
    .unwrap()
}
async fn work(p: &Platform) -> usize {
    let Lambda::Queue(f) = executions::worker(p.services.clone()).await.unwrap() else {
        panic!()
    };
    let sent: Vec<Value> = std::mem::take(&mut *p.sent.lock().unwrap());
    let records: Vec<Value> = sent.iter().enumerate().map(|(i, m)| json!({"messageId": i.to_string(), "body": m["MessageBody"], "attributes": {}, "messageAttributes": {}, "eventSource": "aws:sqs"})).collect();
    let n = records.len();
    let r = f(
        from_value(json!({"Records": records})).unwrap(),
        Invocation {
            deadline: p.clock.now() + TimeDelta::seconds(120),
        },
    )
    .await;
    assert!(r.batch_item_failures.is_empty());
    n
}
fn delays(p: &Platform) -> Vec<i64> {
    p.sent
        .lock()
        .unwrap()
        .iter()
        .map(|m| m["DelaySeconds"].as_i64().unwrap_or(0))
        .collect()
}

#[tokio::test]
async fn runs() {
    let p = Platform::start().await;
    let agent = p.requester("POST", "/ping").await;
    let run = p.run_of(&agent, json!({})).await;
    assert_eq!(delays(&p), [0]);
    p.sent.lock().unwrap().clear(); // lost
    assert_eq!(
        tick(&p, json!({})).await,
        json!({"runs":1,"agents":0,"tokens":0})
    );
    assert_eq!(delays(&p), [30]);
    let v = p.stored(&run).await;
    assert_eq!(v.version, 0);
    p.sent.lock().unwrap().clear();
    p.clock.advance(TimeDelta::seconds(31));
    assert_eq!(tick(&p, Value::Null).await["runs"], 1);
    assert_eq!(delays(&p), [0]);
    let v = p.stored(&run).await;
    assert_eq!(v.version, 1);
    assert!(v.due_at.unwrap() > p.clock.now() + TimeDelta::seconds(59));
    p.sent.lock().unwrap().clear();
    // restart
    assert_eq!(
        tick(&p, json!({"abandoned_before": p.clock.now()})).await["runs"],
        1
    );
    assert_eq!(delays(&p), [0]);
    assert_eq!(work(&p).await, 1);
    assert_eq!(p.stored(&run).await.status, RunStatus::Completed);
    assert_eq!(
        tick(&p, json!({"abandoned_before": p.clock.now()})).await["runs"],
        0
    );
    // crash and sweep
    let agent = p.requester("GET", "/hangs-once").await;
    let run = p.run_of(&agent, json!({})).await;
    p.advance_and_crash(&run).await;
    p.sent.lock().unwrap().clear();
    tick(&p, json!({})).await;
    assert_eq!(delays(&p).len(), 1);
    assert!(delays(&p)[0] >= 31);
    assert_eq!(work(&p).await, 1);
    assert_eq!(p.stored(&run).await.status, RunStatus::Running);
    p.clock.advance(TimeDelta::seconds(40));
    tick(&p, json!({})).await;
    assert_eq!(work(&p).await, 1);
    let s = p.stored(&run).await;
    assert_eq!(s.status, RunStatus::Completed, "{s:?}");
    // restart with a live-looking lease
    let agent = p.requester("POST", "/hangs-once").await;
    let run = p.run_of(&agent, json!({})).await;
    p.advance_and_crash(&run).await;
    p.sent.lock().unwrap().clear();
    p.clock.advance(TimeDelta::seconds(1));
    tick(&p, json!({"abandoned_before": p.clock.now()})).await;
    assert_eq!(delays(&p), [0]);
    work(&p).await;
    assert_eq!(p.stored(&run).await.status, RunStatus::Failed);
    assert_eq!(
        tick(&p, json!({})).await,
        json!({"runs":0,"agents":0,"tokens":0})
    );
}

#[tokio::test]
async fn many() {
    let p = Platform::start().await;
    let agent = p.requester("GET", "/ping").await;
    for _ in 0..1900 {
        p.run_of(&agent, json!({})).await;
    }
    p.sent.lock().unwrap().clear();
    p.clock.advance(TimeDelta::seconds(40));
    let t = std::time::Instant::now();
    let s = tick(&p, json!({})).await;
    eprintln!("{s} {:?}", t.elapsed());
    assert_eq!(s["runs"], 1900);
    assert_eq!(
        tick(&p, json!({})).await["runs"].as_u64().unwrap() > 0,
        true
    );
}

#[tokio::test]
async fn agents_and_tokens() {
    let p = Platform::start().await;
    let mut agent = p.requester("GET", "/ping").await;
    agent.schedule = Some("* * * * *".into());
    agent.next_run_at = Some(p.clock.now() + TimeDelta::milliseconds(700));
    let agent = p.change(&agent).await;
    let now = p.clock.now();
    let secret = TokenSecret::generate(TokenKind::Prodgy);
    let token = Token {
        id: TokenId::new(now),
        kind: TokenKind::Prodgy,
        hash: secret.hash(),
        prefix: secret.display_prefix(),
        organization_id: p.caller.organization_id,
        workspace_id: p.caller.workspace_id,
        user_id: UserId::new(now),
        name: Name::parse("t").unwrap(),
        role: from_value(json!("user"))
            .or_else(|_| from_value(json!("USER")))
            .unwrap(),
        scopes: vec![],
        state: TokenState::Active,
        expires_at: Some(now + TimeDelta::seconds(30)),
        requests_per_minute: None,
        expiry_recorded: false,
        created_at: now,
        revision: 0,
        usage_count: 0,
        last_used_at: None,
    };
    let log = TokenAuditEntry::new(TokenAction::Created, &p.caller, now);
    p.store
        .create_token(
            &token,
            &log,
            &AuditEntry::new(&p.caller, "a.b", "x", "y", now),
        )
        .await
        .unwrap();
    let (a, b) = tokio::join!(tick(&p, json!({})), tick(&p, json!({})));
    assert_eq!(
        a["agents"].as_u64().unwrap() + b["agents"].as_u64().unwrap(),
        1
    );
    assert_eq!((&a["tokens"], &b["tokens"]), (&json!(0), &json!(0)));
    p.clock.advance(TimeDelta::seconds(31));
    let (a, b) = tokio::join!(tick(&p, json!({})), tick(&p, json!({})));
    assert_eq!(
        a["tokens"].as_u64().unwrap() + b["tokens"].as_u64().unwrap(),
        1
    );
    let t = p
        .store
        .token(token.organization_id, token.id)
        .await
        .unwrap()
        .unwrap();
    assert!(t.expiry_recorded);
    let t = p.store.token_by_hash(token.hash).await.unwrap().unwrap();
    assert!(t.expiry_recorded);
    assert_eq!(tick(&p, json!({})).await["tokens"], 0);
    p.clock.advance(TimeDelta::hours(3));
    let s = tick(&p, json!({})).await;
    assert_eq!(
        (&s["agents"], &s["runs"].as_u64().unwrap() >= &1),
        (&json!(1), true),
        "{s}"
    );
    work(&p).await;
    let runs = p
        .store
        .runs(
            agent.workspace_id,
            agent.id,
            &RunFilter::default(),
            &domain::page::PageRequest::first(9),
        )
        .await
        .unwrap()
        .items;
    eprintln!(
        "{:?}",
        runs.iter()
            .map(|r| (r.status, r.created_at))
            .collect::<Vec<_>>()
    );
    // dead letters
    let Lambda::Queue(f) = executions::dead_letters(p.services.clone()).await.unwrap() else {
        panic!()
    };
    let run = p.run_of(&agent, json!({})).await;
    let m = p.sent.lock().unwrap().pop().unwrap();
    let r = f(from_value(json!({"Records": [{"messageId":"1","body": m["MessageBody"], "attributes": {}, "messageAttributes": {}}, {"messageId":"2","body": "x", "attributes": {}, "messageAttributes": {}}]})).unwrap(), Invocation { deadline: p.clock.now() }).await;
    assert_eq!(r.batch_item_failures.len(), 1);
    assert_eq!(p.stored(&run).await.status, RunStatus::Failed);
}
