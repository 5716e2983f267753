//! Who has asked for the next event: a process is free only when everybody in it has.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The runtime itself. Extensions go by their identifiers, which are never this.
const RUNTIME: &str = "runtime";

/// The runtime and every registered extension.
pub(super) struct Attendance {
    members: watch::Sender<BTreeMap<String, Member>>,
}

struct Member {
    /// Whether it gets an event with every invocation.
    is_invoked: bool,
    /// Whether it waits for its next event, done with the one before.
    waits: bool,
}

impl Attendance {
    pub(super) fn new() -> Self {
        let runtime = Member {
            is_invoked: true,
            waits: false,
        };
        let members = BTreeMap::from([(RUNTIME.to_owned(), runtime)]);
        Self {
            members: watch::Sender::new(members),
        }
    }

    /// Says that an extension belongs to the process. From now on the process is free only when it waits as well.
    /// `is_invoked` says whether it wants to hear of invocations.
    #[expect(dead_code, reason = "for the Extension API")]
    pub(super) fn register(&self, extension: &str, is_invoked: bool) {
        let waits = false;
        let member = Member { is_invoked, waits };
        self.members
            .send_modify(|members| drop(members.insert(extension.to_owned(), member)));
    }

    /// An extension asks for its next event.
    pub(super) fn asks(&self, extension: &str) {
        self.members.send_modify(|members| {
            if let Some(member) = members.get_mut(extension) {
                member.waits = true;
            }
        });
    }

    /// The runtime asks for its next event.
    pub(super) fn runtime_asks(&self) {
        self.asks(RUNTIME);
    }

    /// An invocation begins, for the runtime and for every extension that wants to hear of it.
    pub(super) fn invocation(&self) {
        self.members.send_modify(|members| {
            for member in members.values_mut().filter(|member| member.is_invoked) {
                member.waits = false;
            }
        });
    }

    /// Resolves once everybody waits for an event.
    pub(super) async fn everybody_waits(&self) {
        let mut members = self.members.subscribe();
        let all = members.wait_for(|members| members.values().all(|member| member.waits));
        // The sender lives as long as `self`.
        drop(all.await);
    }
}
