//! The function that a request goes to.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use http::Method;

use crate::template::Route;

/// The routes of an API.
#[derive(Default)]
pub(super) struct Routing {
    resources: matchit::Router<usize>,
    endpoints: Vec<Resource>,
}

/// A path and what its methods lead to.
struct Resource {
    path: String,
    methods: Vec<Endpoint>,
}

/// The target of a method of a path.
struct Endpoint {
    method: String,
    function: usize,
    timeout: Option<Duration>,
}

/// The route that a request matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matched<'a> {
    /// The resource's path, in the template's notation.
    pub(super) resource_path: &'a str,
    /// The index of the route's function, as given to [`Routing::add`].
    pub(super) function: usize,
    /// The time that the gateway waits for it, where the template says so.
    pub(super) timeout: Option<Duration>,
    /// The values that the path has for the resource's variables, as it is there.
    pub(super) parameters: HashMap<String, String>,
}

impl Routing {
    /// Adds a route to a function.
    pub(super) fn add(&mut self, route: &Route, function: usize) -> anyhow::Result<()> {
        let endpoint = Endpoint {
            method: route.method.clone(),
            function,
            timeout: route.timeout,
        };
        if let Some(resource) = self
            .endpoints
            .iter_mut()
            .find(|resource| resource.path == route.path)
        {
            resource.methods.push(endpoint);
            return Ok(());
        }
        let index = self.endpoints.len();
        let pattern = pattern(&route.path);
        let conflict = || format!("the path {} cannot be told from another one", route.path);
        self.resources
            .insert(&pattern, index)
            .with_context(conflict)?;
        // API Gateway takes a request with a trailing slash for the same resource.
        if pattern != "/" && !pattern.contains("{*") {
            self.resources
                .insert(format!("{pattern}/"), index)
                .with_context(conflict)?;
        }
        self.endpoints.push(Resource {
            path: route.path.clone(),
            methods: vec![endpoint],
        });
        Ok(())
    }

    /// Finds the function for a request: the most specific path first, then its method, then its `ANY`. A method that the
    /// most specific path lacks is not looked for on a less specific one.
    pub(super) fn find(&self, path: &str, method: &Method) -> Option<Matched<'_>> {
        let found = self.resources.at(path).ok()?;
        let resource = &self.endpoints[*found.value];
        let of = |name: &str| resource.methods.iter().find(|it| it.method == name);
        let endpoint = of(method.as_str()).or_else(|| of("ANY"))?;
        Some(Matched {
            resource_path: &resource.path,
            function: endpoint.function,
            timeout: endpoint.timeout,
            parameters: found
                .params
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }
}

/// API Gateway's `{proxy+}` in the router's notation.
fn pattern(path: &str) -> String {
    match path
        .strip_suffix("+}")
        .and_then(|rest| rest.rsplit_once('{'))
    {
        Some((prefix, name)) => format!("{prefix}{{*{name}}}"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_path_wins() {
        let mut routing = Routing::default();
        let routes = [
            ("ANY", "/"),
            ("GET", "/things"),
            ("POST", "/things"),
            ("GET", "/things/latest"),
            ("ANY", "/things/{id}"),
            ("DELETE", "/things/{id}"),
            ("GET", "/things/{id}/parts"),
            ("ANY", "/files"),
            ("ANY", "/files/{proxy+}"),
            ("GET", "/files/index"),
        ];
        for (index, (method, path)) in routes.iter().enumerate() {
            let route = Route {
                method: (*method).to_owned(),
                path: (*path).to_owned(),
                function: String::new(),
                event: String::new(),
                streamed: false,
                timeout: None,
            };
            routing.add(&route, index).unwrap();
        }
        for (request, expected) in [
            ("GET /", Some(0)),
            ("GET /things", Some(1)),
            ("GET /things/", Some(1)),
            ("POST /things/", Some(2)),
            ("PUT /things", None),
            ("GET /things/latest", Some(3)),
            ("PUT /things/latest", None),
            ("PUT /things/7", Some(4)),
            ("PUT /things/7/", Some(4)),
            ("DELETE /things/7", Some(5)),
            ("GET /things/latest/parts", Some(6)),
            ("GET /things/a%2Fb/parts", Some(6)),
            ("GET /things//parts", None),
            ("PATCH /files/", Some(7)),
            ("GET /files/index", Some(9)),
            ("GET /files/a/b/c", Some(8)),
            ("GET /files/a/", Some(8)),
            ("GET /nothing", None),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let found = routing
                .find(path, &method.parse().unwrap())
                .map(|matched| matched.function);
            assert_eq!(found, expected, "{request}");
        }
    }
}
