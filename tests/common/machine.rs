//! Machines without machines: network namespaces with a cable between two of them.
//!
//! They need the rights of root, `unshare` and `nsenter` of util-linux and `ip` of iproute2; a test without them fails and says so.

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::common::wait_until;

/// A network of its own, alive as long as its process.
pub(crate) struct Machine(Child);

impl Machine {
    /// One with a loopback and nothing else.
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && echo up && exec cat",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs `unshare` of util-linux");
        let mut line = [0; 3];
        let read = std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line);
        assert!(
            read.is_ok() && line == *b"up\n",
            "this test makes network namespaces and needs the rights of root and `ip` of iproute2"
        );
        Self(child)
    }

    /// Runs `task` in a thread within this network; sockets that it opens stay there.
    pub(crate) fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let path = format!("/proc/{}/ns/net", self.0.id());
        thread::spawn(move || {
            let network = std::fs::File::open(path).unwrap();
            rustix::thread::move_into_link_name_space(
                network.as_fd(),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .expect("this test needs the rights of root");
            task()
        })
        .join()
        .unwrap()
    }

    /// 10.99.0.1 here, 10.99.0.2 there, each at the interface `cable`.
    pub(crate) fn cable_to(&self, other: &Self) {
        let (here, there) = (self.0.id(), other.0.id());
        self.ip(&format!(
            "link add cable type veth peer name cable netns {there}"
        ));
        for (machine, pid, last) in [(self, here, 1), (other, there, 2)] {
            assert_eq!(machine.0.id(), pid);
            machine.ip(&format!("addr add 10.99.0.{last}/24 dev cable"));
            machine.ip("link set cable up");
        }
        // A cable carries nothing until both ends are up.
        for machine in [self, other] {
            wait_until("the carrier of the cable", || {
                machine.ip("-br link show cable").contains("LOWER_UP")
            });
        }
    }

    /// Runs `ip` within this network; gives what it says.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0.id().to_string(), "ip"]);
        let output = command.args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
