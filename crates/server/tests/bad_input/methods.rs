//! Wrong methods and tokens.

use http::Method;
use testing::on_both_databases;

use crate::endpoints::ENDPOINTS;
use crate::findings::{Expected, Findings, errcode};
use crate::world::World;

on_both_databases! {
    async fn every_endpoint_answers_its_valid_request(db: TestDatabase) {
        let world = World::new(&db).await;
        for endpoint in ENDPOINTS {
            let call = world.call(endpoint).await;
            let answer = call.valid().await;
            let status = answer.status.as_u16();
            // The valid requests of some endpoints name what is not there.
            assert!([200, 400, 401, 403, 404].contains(&status), "{}: {answer}", endpoint.name());
            assert!(!errcode(&answer).ends_with("_JSON") && errcode(&answer) != "M_UNRECOGNIZED", "{}: {answer}", endpoint.name());
        }
    }

    async fn no_endpoint_answers_without_a_valid_token(db: TestDatabase) {
        let world = World::new(&db).await;
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.needs_token()) {
            let call = world.call(endpoint).await;
            call.bare().await.error(401, "M_MISSING_TOKEN");
            call.bare().header(http::header::AUTHORIZATION, "Basic YTpi").await.error(401, "M_MISSING_TOKEN");
            let answer = call.bare().token("unknown").await;
            assert!(!answer.json["soft_logout"].as_bool().unwrap(), "{answer}");
            answer.error(401, "M_UNKNOWN_TOKEN");
            let separator = if call.query.is_empty() { '?' } else { '&' };
            let path = format!("{}{}{}{separator}access_token=%00%ff", call.path, if call.query.is_empty() { "" } else { "?" }, call.query);
            world.client().request(call.method.clone(), path).await.error(401, "M_UNKNOWN_TOKEN");
        }
    }

    async fn a_method_that_an_endpoint_lacks_is_a_405(db: TestDatabase) {
        let world = World::new(&db).await;
        for endpoint in ENDPOINTS {
            let call = world.call(endpoint).await;
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
                let is_known = |method: &Method| ENDPOINTS.iter().any(|it| it.full_path() == endpoint.full_path() && it.method() == *method);
                if !is_known(&method) {
                    world.client().request(method, &call.path).await.error(405, "M_UNRECOGNIZED");
                }
            }
            let other = Method::from_bytes(b"INVENTED").unwrap();
            world.client().request(other, &call.path).await.error(405, "M_UNRECOGNIZED");
        }
    }

    async fn older_spellings_of_a_path_are_the_same_endpoint(db: TestDatabase) {
        let world = World::new(&db).await;
        let mut findings = Findings::default();
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.full_path().contains("/v3/")) {
            for version in ["r0", "unstable"] {
                let call = world.call(endpoint).await;
                let path = call.path.replacen("/v3/", &format!("/{version}/"), 1);
                let answer = world.client().request(call.method.clone(), &path).await;
                if answer.status == 404 && errcode(&answer) == "M_UNRECOGNIZED" {
                    findings.note(format!("{path} is not known"));
                }
            }
            let call = world.call(endpoint).await;
            findings.check(call.valid(), &endpoint.name(), Expected::Orderly).await;
        }
        findings.none();
    }
}
