//! `acqbus keys`, and what a client may do with the key that it got.
#![cfg(feature = "cli")]

mod cli_support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use acqbus::rpc::{ApiCommand, RpcOptions};
use cli_support::{Done, Program, Service};

#[test]
fn ring_is_made_and_listed() {
    let program = Program::new();
    program.run(&["keys", "new"]).code(0);
    let added = program
        .run(&["keys", "add", "ada", "--role", "operator", "--json"])
        .code(0);
    let file = PathBuf::from(added.json()[0]["file"].as_str().unwrap());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        file.starts_with(program.home().join(".config/acqbus/keys")),
        "{}",
        file.display()
    );

    let listed = program.run(&["keys", "list", "--json"]).code(0).json();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["name"], "ada");
    assert_eq!(listed[0]["role"], "operator");
    assert!(listed[0]["revokedAt"].is_null());

    program.run(&["keys", "revoke", "ada"]).code(0);
    let shown = program.run(&["keys", "show", "ada"]).code(0);
    assert!(shown.out.contains("revoked 20"), "{}", shown.out);
    let server = program.run(&["keys", "show", "--json"]).code(0);
    assert_eq!(server.json()[0]["server"].as_str().unwrap().len(), 40);
}

#[test]
fn secrets_are_never_printed() {
    let program = Program::new();
    let folder = program.home().join("ring");
    let folder = folder.to_str().unwrap();
    let mut printed = String::new();
    for args in [
        &["keys", "new", "--keys", folder][..],
        &["keys", "add", "ada", "--role", "viewer", "--keys", folder],
        &["keys", "list", "--keys", folder],
        &["keys", "show", "ada", "--keys", folder],
        &["keys", "show", "--keys", folder, "-vv"],
    ] {
        let done = program.run(args).code(0);
        printed.push_str(&done.out);
        printed.push_str(&done.err);
    }
    let secrets: Vec<String> = ["server.key", "clients/ada.key"]
        .iter()
        .map(|name| std::fs::read_to_string(PathBuf::from(folder).join(name)).unwrap())
        .map(|text| {
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["secret"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(secrets.len(), 2);
    for secret in secrets {
        assert!(!printed.contains(&secret));
    }
}

#[test]
fn mistakes_are_refused_with_the_next_step() {
    let program = Program::new();
    let absent = program.run(&["keys", "list"]).code(2);
    assert!(absent.err.contains("acqbus keys new"), "{}", absent.err);
    program.run(&["keys", "new"]).code(0);
    program.run(&["keys", "new"]).code(1);
    program
        .run(&["keys", "add", "ada", "--role", "owner"])
        .code(2);
    program
        .run(&["keys", "add", "a/b", "--role", "viewer"])
        .code(2);
    program.run(&["keys", "add", "ada"]).code(2);
    program.run(&["keys", "revoke", "ada"]).code(1);
    program
        .run(&["keys", "add", "ada", "--role", "viewer"])
        .code(0);
    program
        .run(&["keys", "add", "ada", "--role", "viewer"])
        .code(1);
}

#[test]
fn role_decides_what_a_client_may_send() {
    let program = Program::new();
    let service = Secured::start(&program);
    service
        .send(&program, &["send", "GET_STATUS"], "viewer")
        .code(0);
    let refused = service
        .send(&program, &["send", "EMERGENCY_STOP"], "viewer")
        .code(5);
    assert!(
        refused.out.contains("has the role viewer"),
        "{}",
        refused.out
    );
    service
        .send(&program, &["send", "EMERGENCY_STOP"], "operator")
        .code(0);
    assert_eq!(
        service.service.commands(),
        [ApiCommand::GetStatus, ApiCommand::EmergencyStop]
    );
}

#[test]
fn client_without_a_good_key_gets_5() {
    let program = Program::new();
    let service = Secured::start(&program);
    program
        .run_at(&service.service, &["send", "GET_STATUS"])
        .code(5);
    program
        .run_at(&service.service, &["listen", "--duration", "10"])
        .code(5);

    program.run(&["keys", "revoke", "viewer"]).code(0);
    service
        .send(&program, &["send", "GET_STATUS"], "viewer")
        .code(5);
    service
        .send(&program, &["listen", "--duration", "10"], "viewer")
        .code(5);
    assert!(service.service.commands().is_empty());
}

#[test]
fn key_file_that_others_can_read_is_refused() {
    let program = Program::new();
    let service = Secured::start(&program);
    let file = service.file("viewer");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let done = service
        .send(&program, &["send", "GET_STATUS"], "viewer")
        .code(5);
    assert!(done.err.contains("chmod 600"), "{}", done.err);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "{}").unwrap();
    service
        .send(&program, &["send", "GET_STATUS"], "viewer")
        .code(6);
    std::fs::remove_file(&file).unwrap();
    service
        .send(&program, &["send", "GET_STATUS"], "viewer")
        .code(2);
}

/// A service that wants keys, and a viewer and an operator that have some.
struct Secured {
    service: Service,
    folder: PathBuf,
}

impl Secured {
    fn start(program: &Program) -> Self {
        program.run(&["keys", "new"]).code(0);
        for role in ["viewer", "operator"] {
            program.run(&["keys", "add", role, "--role", role]).code(0);
        }
        let folder = program.home().join(".config/acqbus/keys");
        Self {
            service: Service::with_options(RpcOptions::default().keys(&folder)),
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join("clients").join(format!("{name}.key"))
    }

    fn send(&self, program: &Program, args: &[&str], name: &str) -> Done {
        let file = self.file(name);
        let args: Vec<_> = args
            .iter()
            .copied()
            .chain(["--key", file.to_str().unwrap()])
            .collect();
        program.run_at(&self.service, &args)
    }
}

#[test]
fn next_step_names_the_folder_and_the_service_key_is_known() {
    let program = Program::new();
    let new = program.run(&["keys", "new", "--keys", "ring"]).code(0);
    assert!(
        new.out.contains("add NAME --role operator --keys ring"),
        "{}",
        new.out
    );
    let done = program.run(&["send", "GET_STATUS", "--key", "ring/server.key"]);
    assert!(done.err.contains("service's own key file"), "{}", done.err);
}

#[test]
fn revoking_twice_is_told() {
    let program = Program::new();
    program.run(&["keys", "new"]).code(0);
    program
        .run(&["keys", "add", "ada", "--role", "viewer"])
        .code(0);
    program.run(&["keys", "revoke", "ada"]).code(0);
    let again = program.run(&["keys", "revoke", "ada"]).code(0);
    assert!(again.out.contains("was revoked already"), "{}", again.out);
}
