//! Members of a request that a service refuses. Chat completions are spoken by many services, and each takes a part of them: what
//! one names as unsupported is left out, and asked in another way where there is one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use outbound::OutboundResponse;
use reqwest::StatusCode;
use serde_json::Value;

/// A member of requests that some services refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// Without it the answer comes at once.
    Stream,
    /// Without it a stream may not say how many tokens it took.
    StreamOptions,
    /// One name of the output limit. The other is tried, then there is none.
    MaxTokens,
    MaxCompletionTokens,
    /// The form of the answer. Without it, the schema is a part of the instructions.
    ResponseFormat,
    /// The same, refused in a request that had tools too: there are models that take either.
    ResponseFormatWithTools,
}

impl Member {
    const ALL: [Self; 6] = [
        Self::Stream,
        Self::StreamOptions,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::ResponseFormat,
        Self::ResponseFormatWithTools,
    ];

    /// The name under which it is remembered.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::ResponseFormat => "response_format",
            Self::ResponseFormatWithTools => "response_format+tools",
        }
    }

    /// Returns `true` if it is the form of the answer.
    pub(crate) fn is_format(self) -> bool {
        matches!(self, Self::ResponseFormat | Self::ResponseFormatWithTools)
    }

    /// The member's names within a request, of which the first is that of chat completions.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Stream => &["stream"],
            Self::StreamOptions => &["stream_options"],
            Self::MaxTokens => &["max_tokens"],
            Self::MaxCompletionTokens => &["max_completion_tokens"],
            Self::ResponseFormat | Self::ResponseFormatWithTools => {
                &["response_format", "output_config"]
            }
        }
    }

    /// Its names in errors. Gateways translate requests, and pass on the errors of what is behind them.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::ResponseFormat | Self::ResponseFormatWithTools => &[
                "response format",
                "output format",
                "structured output",
                "structured outputs",
                "json mode",
                "json_schema",
                "response mime type",
                "response_mime_type",
                "response_schema",
                // llama.cpp, which makes a grammar of a schema.
                "grammar",
            ],
            _ => &[],
        }
    }

    fn is_named(self, text: &str) -> bool {
        let mut names = self.names().iter().chain(self.aliases());
        names.any(|name| has_word(text, name))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Member {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|member| member.as_str() == text).ok_or(())
    }
}

/// The members that a service is known to refuse for a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsupported(BTreeSet<Member>);

impl FromIterator<Member> for Unsupported {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl Unsupported {
    pub(crate) fn has(&self, member: Member) -> bool {
        self.0.contains(&member)
    }

    /// Returns `true` if the form of the answer has to be asked for in the instructions.
    pub(crate) fn has_format(&self, with_tools: bool) -> bool {
        self.has(Member::ResponseFormat)
            || (with_tools && self.has(Member::ResponseFormatWithTools))
    }

    /// `false` when it was known.
    pub(crate) fn insert(&mut self, member: Member) -> bool {
        self.0.insert(member)
    }
}

/// The words of services about a member that they do not take; of a value that is too large they say something else.
const REFUSALS: [&str; 17] = [
    "unsupported",
    "not supported",
    "not support",
    "unrecognized",
    "unrecognised",
    "unknown",
    "unexpected",
    "unavailable",
    "not permitted",
    "not allowed",
    "not one of the allowed",
    "extra_forbidden",
    "extra fields",
    "cannot find field",
    "cannot use",
    "cannot be combined",
    "cannot be used",
];

/// The member of `sent` that a reply names as unsupported, if that is what it says.
pub(crate) fn refused(reply: &OutboundResponse, sent: &Value) -> Option<Member> {
    let refuses = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
    if !refuses.contains(&reply.status) {
        return None;
    }
    let text = String::from_utf8_lossy(&reply.body).to_lowercase();
    if !REFUSALS.iter().any(|refusal| text.contains(refusal)) {
        return None;
    }
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let parameter = ["/error/param", "/param", "/0/error/param"];
    let parameter = parameter
        .into_iter()
        .find_map(|place| body.pointer(place)?.as_str());
    // The most exact place, and not the text, which may name a member to use instead.
    let named = parameter.map_or(text, str::to_lowercase);
    let has_tools = !sent["tools"].is_null();
    let members = [
        Member::StreamOptions,
        Member::MaxTokens,
        Member::MaxCompletionTokens,
        if has_tools {
            Member::ResponseFormatWithTools
        } else {
            Member::ResponseFormat
        },
        Member::Stream,
    ];
    members.into_iter().find(|member| {
        let is_sent = member.names().iter().any(|name| !sent[*name].is_null());
        is_sent && member.is_named(&named)
    })
}

/// Returns `true` if a name is in a text, and not only as a part of another.
fn has_word(text: &str, name: &str) -> bool {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(name).any(|(start, _)| {
        let (before, after) = (
            &text.as_bytes()[..start],
            &text.as_bytes()[start + name.len()..],
        );
        !is_part(before.last()) && !is_part(after.first())
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;

    fn refused_with(status: u16, body: &str, sent: &Value) -> Option<Member> {
        let reply = OutboundResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        refused(&reply, sent)
    }

    /// Errors as these services word them.
    #[test]
    fn a_refusal_names_its_member_in_many_ways() {
        let sent = json!({
            "model": "m", "messages": [], "max_tokens": 10, "stream": true, "stream_options": {}, "response_format": {},
        });
        for (service, status, body, expected) in [
            (
                "Azure OpenAI",
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
                Some(Member::MaxTokens),
            ),
            (
                "an older Azure OpenAI",
                400,
                r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
                Some(Member::StreamOptions),
            ),
            (
                "Mistral",
                422,
                r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error","param":null,"code":null}"#,
                Some(Member::StreamOptions),
            ),
            (
                "Mistral on Azure",
                400,
                r#"{"error":{"code":"Invalid input","message":"{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"stream_options\"],\"msg\":\"Extra inputs are not permitted\"}]}","status":422}}"#,
                Some(Member::StreamOptions),
            ),
            (
                "vLLM",
                400,
                r#"{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'response_format'), 'msg': 'Extra inputs are not permitted'}]","type":"BadRequestError","param":null,"code":400}"#,
                Some(Member::ResponseFormat),
            ),
            (
                "Groq",
                400,
                r#"{"error":{"message":"'response_format.type' : value is not one of the allowed values ['text','json_object']","type":"invalid_request_error"}}"#,
                Some(Member::ResponseFormat),
            ),
            (
                "DeepSeek",
                400,
                r#"{"error":{"message":"This response_format type is unavailable now","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                Some(Member::ResponseFormat),
            ),
            (
                "Gemini",
                400,
                r#"[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"stream_options\": Cannot find field.","status":"INVALID_ARGUMENT"}}]"#,
                Some(Member::StreamOptions),
            ),
            (
                "OpenAI's o1",
                400,
                r#"{"error":{"message":"Unsupported value: 'stream' does not support true with this model.","param":"stream","code":"unsupported_value"}}"#,
                Some(Member::Stream),
            ),
            (
                "a value that is too large",
                400,
                r#"{"error":{"message":"max_tokens is too large: 99999. This model supports at most 4096 completion tokens","param":"max_tokens","code":"invalid_value"}}"#,
                None,
            ),
            (
                "another parameter",
                400,
                r#"{"error":{"message":"Unsupported value for messages[0]; see response_format","param":"messages[0].content"}}"#,
                None,
            ),
            (
                "no refusal of the request",
                503,
                r#"{"error":"stream_options is unsupported"}"#,
                None,
            ),
            ("a page", 400, "<html>Bad Request</html>", None),
        ] {
            assert_eq!(refused_with(status, body, &sent), expected, "{service}");
        }
    }

    #[test]
    fn a_format_beside_tools_is_refused_apart() {
        let sent = json!({ "tools": [{}], "response_format": {}, "max_completion_tokens": 10 });
        for (service, body) in [
            (
                "Gemini",
                r#"[{"error":{"message":"Function calling with a response mime type: 'application/json' is unsupported"}}]"#,
            ),
            (
                "llama.cpp",
                r#"{"error":{"code":400,"message":"Cannot use custom grammar constraints with tools.","type":"invalid_request_error"}}"#,
            ),
            (
                "Groq",
                r#"{"error":{"message":"json mode cannot be combined with tool/function calling","type":"invalid_request_error"}}"#,
            ),
        ] {
            let refused = refused_with(400, body, &sent);
            assert_eq!(refused, Some(Member::ResponseFormatWithTools), "{service}");
        }
        let known = Unsupported::from_iter([Member::ResponseFormatWithTools]);
        assert!(known.has_format(true) && !known.has_format(false));
        // What was not sent cannot be what is refused.
        let unknown = r#"{"error":"max_tokens is unsupported"}"#;
        assert_eq!(refused_with(400, unknown, &sent), None);
    }

    #[test]
    fn a_member_is_remembered_by_its_name() {
        for member in Member::ALL {
            assert_eq!(member.to_string().parse(), Ok(member));
        }
    }
}
